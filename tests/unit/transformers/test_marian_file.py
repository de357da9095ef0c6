"""Marian's .bin files: read as they were written, under the names of Hugging Face, and never beyond their end."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaged import packaged

from qkv_server.transformers.errors import ModelFileError
from qkv_server.transformers.families.answers import end_ids
from qkv_server.transformers.files import read_model
from qkv_server.transformers.files.marian_binary import open_binary

from .marian_writing import SETTINGS, binary, float32, model, write_model


def test_tensors_have_the_names_and_layouts_of_hugging_face(tmp_path: Path) -> None:
    """Linear layers are (out, in), whichever way they lie; int8 is divided by its multiplier; the rest is left out."""
    weights = read_model(write_model(tmp_path, binary(model()))).weights
    expected = {
        "model.shared.weight": np.arange(28).reshape(7, 4) / 16,
        "final_logits_bias": np.arange(7)[None] / 8,
        "model.decoder.layers.0.ssru.forget.weight": np.arange(16).reshape(4, 4) / 2,
        "model.encoder.layers.0.fc1.weight": np.arange(24).reshape(6, 4) / 4,
        "model.encoder.layers.0.fc1.bias": np.arange(6),
        "model.encoder.layers.0.self_attn.q_proj.weight": np.arange(16).reshape(4, 4).T,
        "model.encoder.layers.0.self_attn_layer_norm.weight": np.ones(4),
    }
    assert set(weights) == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(weights.take(name, array.shape), array.astype(np.float32))


def test_settings_become_a_config(tmp_path: Path) -> None:
    """Sizes come from the settings and from the embedding, and the pair of languages from the name of the file."""
    files = read_model(write_model(tmp_path, binary(model())))
    said = {name: files.config[name] for name in ("model_type", "vocab_size", "d_model", "encoder_ffn_dim")}
    assert said == {"model_type": "marian", "vocab_size": 7, "d_model": 4, "encoder_ffn_dim": 6}
    assert files.config["encoder_attention_heads"] == 2
    assert files.config["decoder_autoregression"] == "ssru"
    assert files.languages == (("en", "pt"),)
    assert end_ids(files) == {0}


def test_texts_end_with_the_end_token(tmp_path: Path) -> None:
    """Marian expects </s> after a text, though tokenizer.json does not say so; decoding leaves it out."""
    tokenizer = read_model(write_model(tmp_path, binary(model()))).tokenizer
    assert tokenizer.encode("a c").ids == [2, 4, 0]
    assert tokenizer.encode("a c").special == [False, False, True]
    assert tokenizer.decode([2, 4, 0]) == "a c"


@pytest.mark.parametrize(
    ("setting", "other", "problem"),
    [
        ("transformer-postprocess: dan", "transformer-postprocess: da", "transformer-postprocess is da, expected dan"),
        ("type: transformer", "type: s2s", "type is s2s, expected transformer"),
        ("dec-cell: ssru", "dec-cell: gru", "dec-cell is gru, expected ssru"),
        ("transformer-decoder-autoreg: rnn\n", "", "autoreg is None, expected rnn or self-attention"),
        ("transformer-heads: 2", "transformer-heads: two", "transformer-heads is two, expected a whole number"),
    ],
)
def test_other_arithmetic_is_refused(tmp_path: Path, setting: str, other: str, problem: str) -> None:
    """A setting that would mean other arithmetic, or none, is named with what was expected."""
    with pytest.raises(ModelFileError, match=problem):
        read_model(write_model(tmp_path, binary(model(SETTINGS.replace(setting, other)))))


def test_a_recurrence_that_is_not_there_may_be_any(tmp_path: Path) -> None:
    """With self-attention in the decoder the settings of the recurrent cell mean nothing."""
    settings = SETTINGS.replace("autoreg: rnn", "autoreg: self-attention").replace("ssru", "gru")
    files = read_model(write_model(tmp_path, binary(model(settings))))
    assert files.config["decoder_autoregression"] == "self-attention"


def test_a_vocabulary_of_sentencepiece_gives_the_same_tokens(tmp_path: Path) -> None:
    """Without the tokenizer.json of their package, the packaged models have the same tokens from its vocabularies."""
    for name in ("enpt", "pten"):
        folder = shutil.copytree(packaged(name), tmp_path / name)
        expected = read_model(folder).tokenizer
        (folder / "tokenizer.json").unlink()
        found = read_model(folder).tokenizer
        for text in ("", "The bear lives by the old river.", "O urso come peixe no rio às 7:45. 🐻", "  ①  ﬁsh\t東京 "):
            assert found.encode(text).ids == expected.encode(text).ids
            assert found.encode(text).ids[-1] == 0


def test_a_vocabulary_must_be_one(tmp_path: Path) -> None:
    """Without tokenizer.json the error says what lies there in its place: nothing, a broken vocabulary, or two."""
    folder = write_model(tmp_path, binary(model()))
    (folder / "tokenizer.json").unlink()
    for name, problem in (
        ("", "has no tokenizer.json, and no file to make one of, expected one"),
        ("srcvocab.enpt.spm", "srcvocab.enpt.spm: is truncated, or no model of SentencePiece"),
        (
            "trgvocab.enpt.spm",
            "no tokenizer.json, and srcvocab.enpt.spm, trgvocab.enpt.spm to make one of, expected one",
        ),
    ):
        if name:
            (folder / name).write_text("no such model")
        with pytest.raises(ModelFileError, match=problem):
            read_model(folder)


def test_of_several_models_none_is_guessed(tmp_path: Path) -> None:
    """Two .bin files that could be the model are an error that names both."""
    folder = write_model(tmp_path, binary(model()))
    write_model(tmp_path, binary(model()), "model.npz.bin")
    with pytest.raises(ModelFileError, match=r"has several models: model.enpt.intgemm.alphas.bin, model.npz.bin"):
        read_model(folder)


def test_a_file_is_refused_at_every_length_that_is_too_short(tmp_path: Path) -> None:
    """Wherever a file is cut off, the error says so."""
    content = binary(model())
    path = tmp_path / "model.bin"
    for length in range(len(content)):
        path.write_bytes(content[:length])
        with pytest.raises(ModelFileError, match=r"^model.bin: is (too short|truncated|broken)"):
            open_binary(path)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (binary(model(), version=2), "is version 2 of Marian's format, expected 1"),
        (binary({"x": (0x0808, (1,), bytes(8))}), "'x' has type 0x808, expected one of 0x101, 0x404, 0x4101"),
        (binary({"x": (0x0404, (3,), bytes(8))}), r"'x' has 8 bytes, expected at least 12 for shape \(3,\)"),
        (binary({"x": (0x4101, (3,), bytes(6))}), r"'x' has 6 bytes, expected at least 7 for shape \(3,\)"),
        (binary({"x": (0x0404, (-1,), bytes(8))}), r"'x' has shape \(-1,\)"),
        (binary({"x": float32([1])}).replace(b"x\0", b"\xff\0"), "expected UTF-8"),
        (binary({"x": float32([1]), "y": float32([1])}).replace(b"y\0", b"x\0"), "has a name twice"),
        (b"\1" + bytes(7) + b"\xff" * 8 + bytes(100), "says that it has 18446744073709551615 items"),
        (binary({}), "has no item 'special:model.yml'"),
        (binary({"special:model.yml": model()["special:model.yml"]}), "has no matrix 'Wemb'"),
    ],
)
def test_a_broken_file_is_refused(tmp_path: Path, content: bytes, problem: str) -> None:
    """Each thing that a file can get wrong has a message of its own."""
    with pytest.raises(ModelFileError, match=f"^model.enpt.intgemm.alphas.bin: .*{problem}"):
        read_model(write_model(tmp_path, content))


@given(changes=st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), min_size=1, max_size=6))
def test_changed_bytes_are_refused_or_read_within_bounds(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[int, int]]
) -> None:
    """Whatever bytes are changed, a file is refused in words, or each tensor has the shape that it says."""
    content = bytearray(binary(model()))
    for position, byte in changes:
        content[position % len(content)] = byte
    folder = write_model(tmp_path_factory.getbasetemp() / "changed", bytes(content))
    try:
        weights = read_model(folder).weights
    except ModelFileError:
        return
    with np.errstate(all="ignore"):
        for name in weights:
            assert weights[name].shape == weights.shape(name)


@pytest.mark.parametrize(
    ("pair", "source", "source_ids", "target", "target_ids"),
    [
        (
            "enpt",
            "She bought three books, two pens and a notebook for 25 dollars.",
            [1418, 14290, 784, 147, 5, 2, 362, 3859, 5, 10, 7, 20260, 25, 695, 15789, 3, 0],
            "Ela comprou três livros, duas canetas e um caderno por 25 dólares.",
            [2276, 27125, 716, 5545, 2, 796, 19926, 5, 8, 28, 28675, 44, 695, 7389, 3, 0],
        ),
        (
            "pten",
            "Os modelos de aprendizado de máquina podem traduzir textos entre idiomas.",
            [127, 3337, 4, 15813, 4, 1998, 246, 18857, 8813, 151, 11206, 3, 0],
            "Machine learning models can translate texts between languages.",
            [3421, 3104, 4240, 68, 16084, 13746, 288, 5375, 3, 0],
        ),
    ],
)
def test_the_students_read_and_write_as_marian_does(
    pair: str, source: str, source_ids: list[int], target: str, target_ids: list[int]
) -> None:
    """The tiny11 models have 16.9 million parameters, and the tokens that Marian itself made of these sentences."""
    files = read_model(packaged(pair))
    assert files.languages == ((pair[:2], pair[2:]),)
    assert files.weights.parameters == 16_907_008
    assert files.tokenizer.encode(source).ids == source_ids
    assert files.tokenizer.decode(target_ids) == target
