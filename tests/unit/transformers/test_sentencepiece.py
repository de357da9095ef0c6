"""Vocabularies of SentencePiece, read from its model files, cut texts as SentencePiece does."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from qkv_server.transformers.errors import ModelFileError
from qkv_server.transformers.files.sentencepiece_model import read
from qkv_server.transformers.files.sentencepiece_tokenizer import tokenizer

FOLDER = Path(__file__).parents[2] / "goldens" / "sentencepiece"
NAMES = sorted(path.stem for path in FOLDER.glob("*.model"))


def golden(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text("utf-8"))
    return found


@pytest.mark.parametrize("name", NAMES)
def test_pieces_are_those_of_the_file(name: str) -> None:
    """Pieces, scores and kinds are what SentencePiece says of them."""
    said, model = golden(name), read(FOLDER / f"{name}.model")
    assert list(model.pieces) == said["tokens"]
    assert list(model.scores) == said["scores"]
    assert list(model.kinds) == said["kinds"]


@pytest.mark.parametrize("name", NAMES)
def test_texts_are_cut_and_joined_as_by_sentencepiece(name: str) -> None:
    """Hundreds of texts in many scripts, with odd spaces, digits and emoji, have the same tokens, and the same text."""
    model = read(FOLDER / f"{name}.model")
    backend = tokenizer(model)
    texts = golden(name)["texts"]
    assert len(texts) > 300
    for asked in texts:
        assert backend.encode(asked["text"]).ids == asked["ids"], asked["text"]
        if model.unknown not in asked["ids"]:  # for which each has another sign
            assert backend.decode(asked["ids"], skip_special_tokens=False) == asked["decoded"]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda content: content[:-1], "is truncated, or no model of SentencePiece"),
        (lambda _: b"{}", "is truncated, or no model of SentencePiece"),
        (lambda _: b"", "is no vocabulary of SentencePiece: none of its 0 pieces is for the unknown"),
        # Fields behind others of the same number take their place: those of trainer_spec, then of normalizer_spec.
        (lambda content: content + b"\x12\x02\x18\x03", r"its model_type is 3, expected 1 \(unigram\) or 2 \(BPE\)"),
        (lambda content: content + b"\x12\x03\xc0\x01\x01", "its pieces have spaces behind words, or as they are"),
        (lambda content: content + b"\x1a\x02\x28\x00", "its pieces have spaces behind words, or as they are"),
    ],
)
def test_what_is_no_such_vocabulary_is_refused(tmp_path: Path, change: Callable[[bytes], bytes], problem: str) -> None:
    """A broken file, and one whose texts are cut in a way that is not known here, is named with what was expected."""
    path = tmp_path / "spiece.model"
    path.write_bytes(change((FOLDER / "bpe.model").read_bytes()))
    with pytest.raises(ModelFileError, match=f"^spiece.model: {problem}"):
        read(path)
