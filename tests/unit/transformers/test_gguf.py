"""GGUF files: converted once, to what the folder was that they were made of."""

import errno
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from packaged import packaged

from qkv_server.transformers.errors import ModelFileError
from qkv_server.transformers.families.answers import end_ids
from qkv_server.transformers.files import ModelFiles, gguf_file, gguf_metadata, read_model
from qkv_server.transformers.files.gguf_metadata import Metadata, config
from qkv_server.transformers.files.gguf_tokenizer import tokenizer
from qkv_server.transformers.loading import load
from qkv_server.transformers.stacks.decoder import DecoderDescription

gguf = pytest.importorskip("gguf", reason="the extra `models` is not installed")

from .gguf_writing import ARCHITECTURES, rotary_base, write_gguf  # noqa: E402 - it needs the library

GOLDENS = Path(__file__).parents[2] / "goldens"
TINY = GOLDENS / "tiny_models"
OF_CONFIG = (
    "model_type",
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "max_position_embeddings",
    "rms_norm_eps",
    "attn_logit_softcapping",
    "final_logit_softcapping",
    "tie_word_embeddings",
    "n_embd",
    "n_inner",
    "n_layer",
    "n_head",
    "n_positions",
    "layer_norm_epsilon",
    "activation_function",
)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of its own for each test."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "qkv"


def written(folder: Path, name: str = "llama", **others: Any) -> Path:
    path = folder / f"{name}.gguf"
    write_gguf(path, TINY / name, **others)
    return path


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_converted_model_is_the_one_it_was_made_of(tmp_path: Path, name: str) -> None:
    """Tensors, sizes, chat template and the tokens of texts are those of the folder, for every architecture."""
    original = read_model(TINY / name)
    files = read_model(written(tmp_path, name))
    assert set(files.weights) == set(original.weights)
    for tensor in original.weights:
        expected = original.weights.take(tensor, original.weights.shape(tensor))
        found = files.weights.take(tensor, expected.shape)
        # Adding 1 and taking it away costs a rounding.
        np.testing.assert_allclose(found, expected, rtol=0, atol=6e-8 if name.startswith("gemma") else 0)
    for key in OF_CONFIG:
        assert files.config.get(key) == original.config.get(key), key
    assert files.config.get("rope_theta") == rotary_base(original.config)
    assert files.tokenizer.chat_template == original.tokenizer.chat_template
    for golden in json.loads((TINY / name / "goldens.json").read_text("utf-8"))["tokenized"]:
        encoding = files.tokenizer.encode(golden["text"])
        assert encoding.ids == golden["ids"]
        assert encoding.pieces == golden["pieces"]
        assert files.tokenizer.decode(golden["ids"]) == golden["decoded"]


def test_layers_of_gemma_3_keep_their_windows_and_bases(tmp_path: Path) -> None:
    """What a file of Gemma 3 does not say is as in llama.cpp: each sixth layer sees all, the others turn by 10 000."""
    found = load(read_model(written(tmp_path, "gemma3"))).description
    assert isinstance(found, DecoderDescription)
    assert found == load(read_model(TINY / "gemma3")).description
    assert [layer.window for layer in found.layers] == [6, 6, 6, 6, 6, None]
    assert [layer.rotary.base for layer in found.layers if layer.rotary is not None] == [1e4] * 5 + [1e6]


@pytest.mark.parametrize("kind", ["F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1"])
def test_blocks_are_widened_as_the_library_does(tmp_path: Path, kind: str) -> None:
    """A quantized tensor has the float32 numbers that `gguf` makes of its blocks."""
    quantized = gguf.GGMLQuantizationType[kind]
    path = written(tmp_path, kind=quantized)
    name = "model.layers.1.mlp.gate_proj.weight"
    original = np.asarray(read_model(TINY / "llama").weights[name], np.float32)
    expected = gguf.quants.dequantize(gguf.quants.quantize(original, quantized), quantized)
    np.testing.assert_array_equal(read_model(path).weights[name], expected)


def test_smollm2_is_read_as_it_was_published() -> None:
    """The packaged SmolLM2: sizes, special tokens, and the tokens of a text with digits and other scripts."""
    files = read_model(packaged("smollm2"))
    sizes = [files.config[name] for name in ("hidden_size", "num_hidden_layers", "num_key_value_heads", "vocab_size")]
    assert sizes == [576, 30, 3, 49152]
    assert files.weights.parameters == 134_515_008
    assert files.config["rope_theta"] == 100_000.0
    assert files.config["rms_norm_eps"] == 1e-5
    assert end_ids(files) == {2}
    assert files.tokenizer.encode("Naïve 日本 🐻 version: fib(10) = 55.").ids[0] != 1  # no token is put before a text
    code = 'def fibonacci(n):\n    """Naïve 日本 🐻 version: fib(10) = 55."""\n    if'
    ids = [1604, 3987, 46477, 24, 94, 727, 472, 1620, 26062, 46494, 17097, 241, 115, 40993, 15107, 234, 136, 3586, 42]
    ids += [3987, 24, 33, 32, 25, 446, 216, 37, 37, 7996, 472, 585]
    assert files.tokenizer.encode(code).ids == ids
    assert files.tokenizer.decode(ids) == code


def test_a_folder_with_one_file_is_that_model(tmp_path: Path) -> None:
    """The folder in which a .gguf file was published is read as the file; with two files it is no model."""
    (tmp_path / "folder").mkdir()
    path = written(tmp_path / "folder")
    assert read_model(path.parent).path == path.parent
    assert set(read_model(path.parent).weights) == set(read_model(path).weights)
    path.with_name("another.gguf").write_bytes(path.read_bytes())
    with pytest.raises(ModelFileError, match=r"^folder: is no model: expected a .gguf file, or a folder with one"):
        read_model(path.parent)


@pytest.mark.parametrize(("name", "space_before"), [("bpe", True), ("bpe_symbols", False)])
def test_scores_cut_texts_as_sentencepiece_does(tmp_path: Path, name: str, space_before: bool) -> None:
    """A vocabulary with scores in place of merges gives the tokens that SentencePiece itself gave."""
    golden = json.loads((GOLDENS / "sentencepiece" / f"{name}.json").read_text("utf-8"))
    metadata = {
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.tokens": golden["tokens"],
        "tokenizer.ggml.scores": golden["scores"],
        "tokenizer.ggml.token_type": golden["kinds"],
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.add_space_prefix": space_before,
    }
    backend = tokenizer(Metadata(tmp_path, metadata))
    for asked in golden["texts"]:
        assert backend.encode(asked["text"]).ids == [1, *asked["ids"]]
        assert backend.decode(asked["ids"]) == asked["decoded"]


@pytest.mark.parametrize(("original", "factor"), [(8192, 8.0), (8192, 32.0), (64, 4.0)])
def test_llama_3_is_told_by_its_rotary_factors(tmp_path: Path, original: int, factor: float) -> None:
    """The factors of Llama 3.1 (its config's formula) give back what they were computed from; others are refused."""
    turns = original / (2 * np.pi * 500_000.0 ** (np.arange(0, 64, 2) / 64))
    smooth = (turns - 1) / 3
    blended = 1 / ((1 - smooth) / factor + smooth)
    factors = np.where(turns < 1, factor, np.where(turns > 4, 1.0, blended)).astype(np.float32)
    said = {
        "general.architecture": "llama",
        **{f"llama.{name}": 2 for name in ("embedding_length", "feed_forward_length", "block_count")},
        "llama.context_length": 131072,
        "llama.attention.head_count": 2,
        "llama.attention.key_length": 64,
        "llama.attention.layer_norm_rms_epsilon": 1e-5,
        "llama.rope.freq_base": 500_000.0,
    }
    scaling = config(Metadata(tmp_path, said), 7, tied=True, rotary_factors=factors)["rope_scaling"]
    assert scaling == {
        "rope_type": "llama3",
        "factor": factor,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": original,
    }
    with pytest.raises(ModelFileError, match=r"its rope_freqs.weight are not the factors of Llama 3.1"):
        config(Metadata(tmp_path, said), 7, tied=True, rotary_factors=factors[::-1])


def entries(cache: Path) -> set[Path]:
    """The folders of the cache."""
    return {path for path in cache.iterdir() if path.is_dir()}


def test_a_file_is_converted_once_and_again_when_it_changes(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second reading maps what the first made; another file in its place is converted anew, and the old removed."""
    path = written(tmp_path)
    done: list[float] = []
    first = read_model(path, done.append)
    assert first.path == path
    assert done[0] == 0.0
    assert done[-1] == 1.0
    assert done == sorted(done)
    before = entries(cache)

    def refused(*_: object) -> ModelFiles:
        raise AssertionError("converted again")

    with monkeypatch.context() as patched:
        patched.setattr(gguf_file, "convert", refused)
        assert set(read_model(path).weights) == set(first.weights)
        os.utime(path, ns=(1, 1))
        with pytest.raises(AssertionError, match="converted again"):
            read_model(path)
    read_model(path)
    (after,) = entries(cache)
    assert after not in before


def test_a_file_that_was_moved_is_not_converted_again(tmp_path: Path, cache: Path) -> None:
    """What was made of it is kept for it under its new name, also when other conversions clean up."""
    path = written(tmp_path)
    read_model(path)
    (made,) = entries(cache)
    moved = path.rename(tmp_path / "moved.gguf")
    read_model(moved)
    assert entries(cache) == {made}
    read_model(written(tmp_path, "qwen2"))
    assert made in entries(cache)
    assert len(entries(cache)) == 2


def test_what_was_made_of_a_file_goes_after_it(tmp_path: Path, cache: Path) -> None:
    """The next conversion removes what is left of files that have gone, and whatever else lies in the cache."""
    path = written(tmp_path)
    read_model(path)
    path.unlink()
    (cache / "unfinished").mkdir()
    (cache / "llama-0123456789ab" / "1-2-3").mkdir(parents=True)
    (cache / "other").mkdir()
    (cache / "other" / "sources.json").write_text("[1]")
    read_model(written(tmp_path, "qwen2"))
    (kept,) = entries(cache)
    assert json.loads((kept / "sources.json").read_text()) == [str(tmp_path / "qwen2.gguf")]


def test_a_cache_that_is_read_only_serves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was converted before, as into an image of a container, is used where nothing can be written."""
    path = written(tmp_path)
    read_model(path)
    moved = path.rename(tmp_path / "moved.gguf")

    def refused(*_: object) -> None:
        raise PermissionError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(Path, "write_text", refused)
    monkeypatch.setattr(Path, "mkdir", refused)
    assert set(read_model(moved).weights) == set(read_model(TINY / "llama").weights)


def test_a_conversion_that_fails_leaves_nothing(tmp_path: Path, cache: Path) -> None:
    """Of a file that turns out to be broken no part stays in the cache."""
    path = written(tmp_path, tokenizer__ggml__pre="nobody-knows")
    with pytest.raises(
        ModelFileError, match=r"its tokenizer.ggml.pre is 'nobody-knows', expected one of gpt-2, smollm"
    ):
        read_model(path)
    assert entries(cache) == set()


def test_a_user_without_a_home_folder_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A container may run under a number that no user has: the error names the variable that helps."""

    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    path = written(tmp_path)
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", homeless)
    with pytest.raises(ModelFileError, match=r"^llama.gguf: cannot be converted: .* no home folder .*XDG_CACHE_HOME"):
        read_model(path)


def test_a_cache_that_cannot_be_written_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the folder, and the variable that moves it."""
    path = written(tmp_path)
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(
        ModelFileError, match=r"cannot be converted in .*file/qkv.* \(\$XDG_CACHE_HOME moves it\): Not a"
    ):
        read_model(path)


def test_truncated_files_are_refused(tmp_path: Path) -> None:
    """Wherever a file is cut off, the error says that it is broken."""
    content = written(tmp_path).read_bytes()
    for length in [0, 3, 4, 8, 20, *range(24, len(content), len(content) // 25)]:
        path = tmp_path / "cut.gguf"
        path.write_bytes(content[:length])
        with pytest.raises(ModelFileError, match=r"^cut.gguf: (is truncated|its metadata|tensor|has no)"):
            read_model(path)


@pytest.mark.parametrize(
    ("others", "problem"),
    [
        ({"tokenizer__ggml__model": "rwkv"}, "its tokenizer.ggml.model is 'rwkv', expected one of gpt2, llama"),
        ({"tokenizer__ggml__tokens": ["a", "a", "b", "c"]}, "its tokenizer.ggml.tokens have a token twice"),
        ({"tokenizer__ggml__tokens": [1, 2]}, "its tokenizer.ggml.tokens are no strings"),
        ({"tokenizer__ggml__merges": ["no such"]}, "its tokenizer is broken"),
        ({"tokenizer__ggml__bos_token_id": 999}, "names token 999 of 300"),
        ({"llama__block_count": "two"}, "its llama.block_count is 'two', expected int"),
        (
            {"llama__rope__scaling__type": "dynamic", "llama__rope__scaling__factor": 2.0},
            "its llama.rope.scaling.type is 'dynamic', expected none, linear or yarn",
        ),
        ({"without": ("{arch}.embedding_length",)}, "has no metadata llama.embedding_length"),
        ({"without": ("tokenizer.ggml.tokens",)}, "has no metadata tokenizer.ggml.tokens"),
    ],
)
def test_metadata_that_mean_nothing_here_are_named(tmp_path: Path, others: dict[str, Any], problem: str) -> None:
    """A key that is missing, of another type, or of an unknown value is told with what was expected."""
    with pytest.raises(ModelFileError, match=f"^llama.gguf: {problem}"):
        read_model(written(tmp_path, **others))


def test_an_unknown_architecture_is_named(tmp_path: Path) -> None:
    """A file of another family says which it is, and which are known."""
    writer = gguf.GGUFWriter(tmp_path / "other.gguf", "mamba")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    known = ", ".join(gguf_metadata.ARCHITECTURES)
    with pytest.raises(ModelFileError, match=f"^other.gguf: has architecture 'mamba', expected one of {known}$"):
        read_model(tmp_path / "other.gguf")


def test_other_rotary_scalings_keep_their_names(tmp_path: Path) -> None:
    """Linear and YaRN scaling are those of config.json."""
    linear: dict[str, Any] = {"llama__rope__scaling__type": "linear", "llama__rope__scaling__factor": 2.0}
    assert read_model(written(tmp_path, **linear)).config["rope_scaling"] == {"rope_type": "linear", "factor": 2.0}
    yarn = linear | {"llama__rope__scaling__type": "yarn", "llama__rope__scaling__original_context_length": 32}
    assert read_model(written(tmp_path, **yarn)).config["rope_scaling"] == {
        "rope_type": "yarn",
        "factor": 2.0,
        "original_max_position_embeddings": 32,
    }
