"""Folders as Hugging Face's libraries write them, and those of sentence-transformers."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from packaged import packaged

from qkv_server.transformers.errors import ModelFileError
from qkv_server.transformers.families.answers import end_ids
from qkv_server.transformers.files import read_model
from qkv_server.transformers.files.model_files import SentenceSettings
from qkv_server.transformers.loading import load

TINY = Path(__file__).parents[2] / "goldens" / "tiny_models"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of a small sentence-transformers model, to be changed."""
    return Path(shutil.copytree(TINY / "bert", tmp_path / "tiny"))


def change(path: Path, **changes: object) -> None:
    """Change an object in a JSON file; None removes a name."""
    said = json.loads(path.read_text("utf-8")) if path.exists() else {}
    said = {name: value for name, value in (said | changes).items() if value is not None}
    path.write_text(json.dumps(said), "utf-8")


def test_shards_are_one_model() -> None:
    """The tensors that an index spreads over files are those that the safetensors package reads of each."""
    folder = TINY / "llama"
    weights = read_model(folder).weights
    shards = sorted(folder.glob("model-*.safetensors"))
    assert len(shards) > 1
    expected = {name: array for shard in shards for name, array in safetensors.numpy.load_file(shard).items()}
    assert set(weights) == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(weights[name], array)


def test_minilm_is_what_its_files_say() -> None:
    """The packaged MiniLM: mean pooling, normalized, 256 tokens read, 22.7 million numbers besides its position ids."""
    files = read_model(packaged("minilm"))
    assert files.sentence == SentenceSettings("mean", normalize=True, max_seq_length=256)
    assert files.config["model_type"] == "bert"
    assert files.weights.parameters == 22_713_216
    assert files.weights.take("embeddings.word_embeddings.weight", (30522, 384)).dtype == np.float32


@pytest.mark.parametrize(
    ("break_it", "problem"),
    [
        (lambda folder: (folder / "tokenizer.json").unlink(), r"^tiny: has no tokenizer.json"),
        (lambda folder: (folder / "tokenizer.json").write_text("{}"), r"^tokenizer.json: is no tokenizer: "),
        (lambda folder: (folder / "config.json").unlink(), r"^config.json: cannot be read: No such file"),
        (lambda folder: (folder / "config.json").write_text("{,}"), r"^config.json: is no JSON: "),
        (lambda folder: (folder / "config.json").write_bytes(b"\xff{}"), r"^config.json: is no JSON: "),
        (lambda folder: (folder / "config.json").write_text("[]"), r"^config.json: is a JSON list, expected an object"),
        (
            lambda folder: (folder / "chat_template.jinja").write_bytes(b"a\xff"),
            r"^chat_template.jinja: is no text in UTF-8: invalid start byte at byte 1$",
        ),
        (
            lambda folder: (folder / "chat_template.jinja").write_text("{% if x %}\n{{ y }"),
            r"^chat_template.jinja: has 'chat_template': '{% if x %}.*', expected a template: .* is no Jinja: .* 2$",
        ),
        (
            lambda folder: change(folder / "tokenizer_config.json", chat_template="{{" + "(" * 5000),
            r"^tokenizer_config.json: has 'chat_template': '{{\(.*, expected a template: .* cannot be compiled: ",
        ),
        (
            lambda folder: change(folder / "tokenizer_config.json", chat_template=5),
            r"^tokenizer_config.json: has 'chat_template': 5, expected a text, or a list of named ones$",
        ),
        (
            lambda folder: change(folder / "sentence_bert_config.json", max_seq_length=0),
            r"^sentence_bert_config.json: has 'max_seq_length': 0, expected a whole number from 1$",
        ),
        (
            lambda folder: change(folder / "sentence_bert_config.json", max_seq_length="16"),
            r"^sentence_bert_config.json: has 'max_seq_length': '16', expected a whole number from 1$",
        ),
        (lambda folder: (folder / "config.json").write_text(r'{"x": "\ud800"}'), r"^config.json: is no JSON: .*surrog"),
        (
            lambda folder: (folder / "model.safetensors").unlink(),
            r"^tiny: has neither model.safetensors nor model.safetensors.index.json$",
        ),
        (
            lambda folder: (folder / "model.safetensors").rename(folder / "pytorch_model.bin"),
            r"^tiny: has neither .*; weights that are pickled are never read: save them as safetensors",
        ),
        (shutil.rmtree, r"^tiny: is missing: expected a .gguf file, or a folder with"),
        (
            lambda folder: [path.unlink() for path in (folder / "config.json", folder / "modules.json")],
            r"^tiny: is no model: expected a .gguf file, or a folder with one .gguf file, config.json",
        ),
    ],
)
def test_what_is_missing_or_broken_is_named(folder: Path, break_it: Callable[[Path], object], problem: str) -> None:
    """The error of a folder that cannot be read begins with the file, and says what is wrong with it."""
    break_it(folder)
    with pytest.raises(ModelFileError, match=problem):
        read_model(folder)


def test_a_tokenizer_with_more_tokens_than_the_embedding_is_refused(folder: Path) -> None:
    """A token beyond the embedding would be read from somewhere else in memory."""
    path = folder / "tokenizer.json"
    said = json.loads(path.read_text("utf-8"))
    size = json.loads((folder / "config.json").read_text("utf-8"))["vocab_size"]
    said["model"]["vocab"]["lighthouse"] = size
    path.write_text(json.dumps(said), "utf-8")
    with pytest.raises(
        ModelFileError, match=f"^tiny: its tokenizer has tokens up to {size}, and its embedding {size} "
    ):
        load(read_model(folder))


@pytest.mark.parametrize(
    ("index", "problem"),
    [
        ({"weight_map": {"x": "model-2.safetensors"}}, "names 'model-2.safetensors', which is missing"),
        ({"weight_map": {"x": "../model-1.safetensors"}}, "expected a path within its own folder"),
        ({"weight_map": {"x": "/model-1.safetensors"}}, "expected a path within its own folder"),
        ({"weight_map": ["x"]}, "has no weight_map"),
        ({"weight_map": {"x": 1}}, "has no weight_map"),
        ({}, "has no weight_map"),
    ],
)
def test_an_index_names_files_that_are_there(folder: Path, index: object, problem: str) -> None:
    """An index that names other files than those beside it is refused."""
    (folder / "model.safetensors").rename(folder / "model-1.safetensors")
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), "utf-8")
    with pytest.raises(ModelFileError, match=f"^model.safetensors.index.json: .*{problem}"):
        read_model(folder)


def test_a_shard_without_its_tensor_is_named(folder: Path) -> None:
    """A tensor that an index promises and the file has not is an error about that file."""
    (folder / "model.safetensors").rename(folder / "model-1.safetensors")
    index = {"weight_map": {"x": "model-1.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), "utf-8")
    with pytest.raises(ModelFileError, match=r"^model-1.safetensors: has no tensor 'x', which model.safetensors.index"):
        read_model(folder)


@pytest.mark.parametrize(
    ("mode", "pooling"),
    [
        ("pooling_mode_cls_token", "cls"),
        ("pooling_mode_mean_tokens", "mean"),
        ("pooling_mode_lasttoken", "last"),
    ],
)
def test_pooling_is_what_the_module_says(folder: Path, mode: str, pooling: str) -> None:
    """The one mode that is on is the pooling; a folder without Normalize is not normalized."""
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({mode: True, "pooling_mode_max_tokens": False}))
    modules = [
        {"path": "", "type": "sentence_transformers.models.Transformer"},
        {"path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    sentence = read_model(folder).sentence
    assert sentence.pooling == pooling
    assert sentence.normalize is False


def test_other_modules_and_poolings_are_refused(folder: Path) -> None:
    """A vector that would be another one than the model was trained for is refused, not approximated."""
    said = {"pooling_mode_max_tokens": True}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(said))
    with pytest.raises(ModelFileError, match=r"^config.json: pools by max_tokens, expected one of mean_tokens"):
        read_model(folder)
    (folder / "modules.json").write_text(
        json.dumps([{"path": "2_Dense", "type": "sentence_transformers.models.Dense"}])
    )
    with pytest.raises(ModelFileError, match=r"has a module 'Dense', which is not known here"):
        read_model(folder)
    (folder / "modules.json").write_text('{"path": ""}')
    with pytest.raises(ModelFileError, match=r"^modules.json: is no list of modules"):
        read_model(folder)


@pytest.mark.parametrize("path", ["..", "/etc", "1_Pooling/../../other"])
def test_modules_lie_within_the_folder(folder: Path, path: str) -> None:
    """A module whose path leads out of the folder is refused, and nothing there is read."""
    (folder / "modules.json").write_text(json.dumps([{"path": path, "type": "models.Transformer"}]))
    with pytest.raises(ModelFileError, match=f"^modules.json: names '{path}', expected a path within its own folder$"):
        read_model(folder)


@pytest.mark.parametrize("target", [".none", "link"])
def test_a_link_that_leads_nowhere_says_so(tmp_path: Path, target: str) -> None:
    """The error of a link to what is not there, or to itself, says that it is one, and to where."""
    (tmp_path / "link").symlink_to(target)
    with pytest.raises(ModelFileError, match=f"^link: is a link that leads nowhere: to {target}$"):
        read_model(tmp_path / "link")


def test_the_name_of_a_file_that_is_no_text_is_told_in_text(folder: Path) -> None:
    """Errors can be told in UTF-8, whatever bytes the name of a file has."""
    folder = folder.rename(folder.with_name("caf\udce9"))
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelFileError) as refusal:
        read_model(folder)
    assert str(refusal.value).encode().startswith(b"caf\\udce9: has neither model.safetensors")


def test_the_transformer_may_lie_in_a_folder_of_its_own(folder: Path, tmp_path: Path) -> None:
    """modules.json says where the transformer of an older sentence-transformers model lies."""
    outer = tmp_path / "outer"
    outer.mkdir()
    folder.rename(outer / "0_Transformer")
    modules = [{"path": "0_Transformer", "type": "sentence_transformers.models.Transformer"}]
    (outer / "modules.json").write_text(json.dumps(modules))
    (outer / "0_Transformer" / "modules.json").unlink()
    files = read_model(outer)
    assert files.path == outer
    assert files.config["model_type"] == "bert"
    assert files.sentence.max_seq_length == 16


def test_special_tokens_and_template_may_be_written_in_several_ways(folder: Path) -> None:
    """A token is a string or an object with its content; of named templates the default one counts; a file wins."""
    change(
        folder / "tokenizer_config.json",
        bos_token={"content": "[CLS]", "special": True},
        chat_template=[{"name": "tools", "template": "T"}, {"name": "default", "template": "D"}],
    )
    tokenizer = read_model(folder).tokenizer
    assert tokenizer.special_tokens["bos_token"] == "[CLS]"  # noqa: S105 - a token of a vocabulary
    assert tokenizer.special_ids["bos_token"] == tokenizer.backend.token_to_id("[CLS]")
    assert tokenizer.chat_template == "D"
    (folder / "chat_template.jinja").write_text("ä", "utf-8")
    assert read_model(folder).tokenizer.chat_template == "ä"


def test_the_tokens_that_end_an_answer_have_an_order_of_sources(folder: Path) -> None:
    """generation_config.json comes before config.json, and that before the tokenizer; there may be several."""
    change(folder / "tokenizer_config.json", eos_token="[SEP]")  # noqa: S106 - a token of a vocabulary
    separator = read_model(folder).tokenizer.special_ids["eos_token"]
    assert end_ids(read_model(folder)) == {separator}
    change(folder / "config.json", eos_token_id=[7, 8])
    assert end_ids(read_model(folder)) == {7, 8}
    change(folder / "generation_config.json", eos_token_id=9)
    assert end_ids(read_model(folder)) == {9}


@pytest.mark.parametrize(
    "said", [{"source_lang": "en", "target_lang": "de"}, {"src_lang": "en_XX", "tgt_lang": "de_DE"}]
)
def test_a_translation_model_says_its_languages(folder: Path, said: dict[str, str]) -> None:
    """The pair of a MarianTokenizer, or of an MBartTokenizer, is that of the model."""
    change(folder / "tokenizer_config.json", **said)
    assert read_model(folder).languages == (("en", "de"),)
