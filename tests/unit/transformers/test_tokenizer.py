"""Tokenizers: the tokens, pieces and offsets that Hugging Face's library gives, whole texts, and clear refusals."""

import json
from itertools import compress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaged import packaged

from qkv_server.transformers.errors import ModelFileError, TextError
from qkv_server.transformers.files import read_model
from qkv_server.transformers.text.tokenizer import Tokenizer

TINY = Path(__file__).parents[2] / "goldens" / "tiny_models"
MODELS = sorted(path.parent.name for path in TINY.glob("*/goldens.json"))


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is converted is kept in a cache of the test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def tokenizer_of(name: str) -> Tokenizer:
    return read_model(TINY / name).tokenizer


@pytest.mark.parametrize("name", MODELS)
def test_tokens_are_those_of_transformers(name: str) -> None:
    """Ids, pieces, offsets in code points, marks of special tokens and decoded texts are transformers' own."""
    tokenizer = tokenizer_of(name)
    goldens: list[dict[str, Any]] = json.loads((TINY / name / "goldens.json").read_text("utf-8"))["tokenized"]
    assert goldens
    encodings = tokenizer.encode_batch([golden["text"] for golden in goldens])
    for golden, encoding in zip(goldens, encodings, strict=True):
        assert encoding == tokenizer.encode(golden["text"])
        assert encoding.ids == golden["ids"]
        assert encoding.pieces == [tokenizer.piece(number) for number in golden["ids"]]
        known = [piece != "<unk>" for piece in encoding.pieces]  # in place of it transformers may have the text
        assert list(compress(encoding.pieces, known)) == list(compress(golden["pieces"], known))
        assert [list(span) for span in encoding.offsets] == golden["offsets"]
        assert encoding.special == golden["special"]
        assert tokenizer.decode(golden["ids"]) == golden["decoded"]


def test_texts_are_neither_cut_nor_padded() -> None:
    """MiniLM's tokenizer.json asks for 128 tokens, no more and no less; here a text has the tokens that it has."""
    tokenizer = Tokenizer.from_file(packaged("minilm") / "tokenizer.json")
    assert len(tokenizer.encode("bears").ids) == 3
    assert len(tokenizer.encode("bears " * 1000).ids) == 1002


def test_offsets_count_code_points() -> None:
    """A token after an emoji begins where it does in the Python string, not in its bytes."""
    text = "🐻🐻 naïve bears"
    encoding = tokenizer_of("bert").encode(text)
    begin, end = encoding.offsets[encoding.pieces.index("bears")]
    assert text[begin:end] == "bears"


def test_special_tokens_may_be_left_out() -> None:
    """Without special tokens a text has its own alone, and an empty one none."""
    tokenizer = tokenizer_of("bert")
    whole, own = tokenizer.encode("I love bears."), tokenizer.encode("I love bears.", special_tokens=False)
    assert own.ids == whole.ids[1:-1]
    assert not any(own.special)
    assert tokenizer.encode("", special_tokens=False).ids == []


def test_special_tokens_may_be_written() -> None:
    """Detokenizing leaves special tokens out unless they are asked for."""
    tokenizer = tokenizer_of("bert")
    ids = tokenizer.encode("bears").ids
    assert tokenizer.decode(ids) == "bears"
    assert tokenizer.decode(ids, special_tokens=True) == "[CLS] bears [SEP]"


@pytest.mark.parametrize(
    ("text", "message"), [("a\ud83d", "character 1 is U+D83D"), ("\udc3b", "character 0 is U+DC3B")]
)
def test_half_a_surrogate_pair_is_refused_with_its_place(text: str, message: str) -> None:
    """A string that is no Unicode text is a TextError that says where."""
    with pytest.raises(TextError) as caught:
        tokenizer_of("bert").encode(text)
    assert str(caught.value) == f"{message}, half of a surrogate pair"


@pytest.mark.parametrize("number", [-1, 10_000, 2**31, 2**70])
def test_a_token_that_is_not_there_is_refused_with_its_place(number: int) -> None:
    """A number outside the vocabulary is a TextError, of whatever size it is."""
    with pytest.raises(TextError, match=f"^token 1 is {number}, which the vocabulary has not$"):
        tokenizer_of("bert").decode([5, number])


@pytest.mark.parametrize("name", ["gpt2", "llama", "qwen2"])
@given(text=st.text(alphabet=st.characters(codec="utf-8", exclude_categories=["Mn"])))
def test_byte_level_tokens_give_any_text_back(name: str, text: str) -> None:
    """Text → tokens → text is the identity; Qwen2's normalizes, so it is of a text that it has normalized."""
    tokenizer = tokenizer_of(name)
    once = tokenizer.decode(tokenizer.encode(text, special_tokens=False).ids, special_tokens=True)
    if name != "qwen2":
        assert once == text
    assert tokenizer.decode(tokenizer.encode(once, special_tokens=False).ids, special_tokens=True) == once


def test_a_megabyte_of_text_is_read_whole() -> None:
    """Long texts, of many words or of one, have tokens up to their end."""
    tokenizer = tokenizer_of("gpt2")
    for text in ("bears and " * 100_000, "x" * 1_000_000):
        assert tokenizer.encode(text).offsets[-1][1] == len(text)


def test_what_is_no_tokenizer_is_a_file_error(tmp_path: Path) -> None:
    """A broken tokenizer.json is named."""
    path = tmp_path / "tokenizer.json"
    for content in ("", "{}", '{"model": {"type": "BPE"}}'):
        path.write_text(content)
        with pytest.raises(ModelFileError, match=r"^tokenizer.json: is no tokenizer: "):
            Tokenizer.from_file(path)
