"""Vectors of texts: pooling, packing and truncation."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_models import FOLDER

from qkv_server.transformers.files import ModelFiles, read_model
from qkv_server.transformers.loading import load
from qkv_server.transformers.stacks.embedding import Array, Pooling, normalize, packs, pool
from qkv_server.transformers.stacks.encoder_model import EncoderModel
from qkv_server.transformers.text.tokenizer import Encoding
from qkv_server.transformers.text.truncation import truncated


def read(path: Path) -> tuple[ModelFiles, EncoderModel]:
    files = read_model(path)
    model = load(files)
    assert isinstance(model, EncoderModel)
    return files, model


def test_a_megabyte_is_cut_to_what_the_model_reads() -> None:
    """A text of 1 MB has the vector of its first tokens, between the special ones."""
    files, model = read(FOLDER / "bert")
    most = model.description.text_tokens
    long = files.tokenizer.encode("The bear waits by the old river. " * (2**20 // 33))
    cut = truncated(long, most)
    assert len(long.ids) > 100_000
    assert cut.ids == [*long.ids[: most - 1], long.ids[-1]]
    assert np.linalg.norm(model.embed([cut.ids])[0]) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("pooling", Pooling)
@pytest.mark.parametrize("normalized", [False, True])
def test_vectors_are_pooled_last_states(pooling: Pooling, normalized: bool) -> None:
    """A text's vector is the mean, the first or the last of its last hidden states, of length 1 if asked."""
    _, model = read(FOLDER / "bert")
    texts = [[2, 9, 17, 3], [2, 3], [2, 50, 60, 70, 80, 3]]
    vectors = model.embed(texts, pooling, normalized)
    for text, vector in zip(texts, vectors, strict=True):
        ((_, last),) = model.encode(text, hidden_states=(-1,)).hidden_states
        expected = {Pooling.MEAN: last.mean(axis=0), Pooling.CLS: last[0], Pooling.LAST: last[-1]}[pooling]
        expected = expected / np.linalg.norm(expected) if normalized else expected
        np.testing.assert_allclose(vector, expected, rtol=0, atol=1e-5)


def test_files_say_how_vectors_are_made() -> None:
    """A sentence model's own pooling, length of vectors and of texts hold; without them it is the mean, 1, and all."""
    _, sentences = read(FOLDER / "bert")
    _, plain = read(FOLDER / "roberta")
    assert (sentences.description.text_tokens, sentences.description.context_tokens) == (16, 64)
    assert (plain.description.text_tokens, plain.description.context_tokens) == (62, 62)  # two positions are not used
    assert (plain.description.pooling, plain.description.normalized) == (Pooling.MEAN, True)
    text = [2, 9, 17, 3]
    said = sentences.description
    assert (sentences.embed([text]) == sentences.embed([text], said.pooling, said.normalized)).all()


def test_a_text_without_tokens_has_a_vector_of_zeros() -> None:
    """Where a text has no tokens, or there is no text at all, that is no error."""
    _, model = read(FOLDER / "bert")
    vectors = model.embed([[], [2, 3], []])
    assert (vectors[[0, 2]] == 0).all()
    assert (vectors[1] == model.embed([[2, 3]])[0]).all()
    assert model.embed([]).shape == (0, 32)


def test_wrong_tokens_are_refused_by_the_place_of_the_text() -> None:
    """A text that is too long, or has tokens that the vocabulary does not have, is named by its place."""
    _, model = read(FOLDER / "bert")
    with pytest.raises(ValueError, match="text 1 has 65 tokens, the model reads at most 64"):
        model.embed([[2, 3], [2] * 65])
    with pytest.raises(ValueError, match="text 1: token 220 is not in the vocabulary of 220"):
        model.embed([[2, 3], [220]])


@given(st.lists(st.integers(1, 40)), st.integers(1, 100))
def test_packs_have_every_text_once(lengths: list[int], tokens: int) -> None:
    """Every text is in one pack, packs keep to their tokens unless one text has more, and lengths only fall."""
    packed = packs(lengths, tokens)
    assert sorted(place for pack in packed for place in pack) == list(range(len(lengths)))
    assert all(len(pack) == 1 or sum(lengths[place] for place in pack) <= tokens for pack in packed)
    in_order = [lengths[place] for pack in packed for place in pack]
    assert all(first >= second for first, second in pairwise(in_order))


@pytest.mark.parametrize("pooling", Pooling)
def test_pooling_keeps_texts_apart(pooling: Pooling) -> None:
    """The states of one text have no say in the vector of another."""
    states: Array = np.arange(12, dtype=np.float32).reshape(6, 2)
    expected = {Pooling.MEAN: [[0, 1], [4, 5], [9, 10]], Pooling.CLS: [[0, 1], [2, 3], [8, 9]]}
    expected[Pooling.LAST] = [[0, 1], [6, 7], [10, 11]]
    assert pool(states, [1, 3, 2], pooling).tolist() == expected[pooling]


def test_vectors_of_zeros_stay_zeros() -> None:
    """Normalizing divides by lengths, but not by 0."""
    assert normalize(np.array([[3, 4], [0, 0]], np.float32)).tolist() == [[np.float32(0.6), np.float32(0.8)], [0, 0]]


@pytest.mark.parametrize(
    ("special", "tokens", "kept"),
    [
        ("s...s", 5, "01234"),
        ("s...s", 4, "0124"),
        ("s...s", 2, "04"),
        ("s...s", 1, "4"),
        ("....s", 3, "014"),
        ("ss..", 3, "012"),
        ("....", 2, "01"),
        ("s.s.s", 4, "0124"),
    ],
)
def test_special_tokens_around_a_text_outlast_truncation(special: str, tokens: int, kept: str) -> None:
    """A text is cut at its end, before the special tokens (s) that follow it, and every part of the encoding alike."""
    places = range(len(special))
    whole = Encoding(list(places), [str(i) for i in places], [(i, i + 1) for i in places], [c == "s" for c in special])
    cut = truncated(whole, tokens)
    assert "".join(cut.pieces) == kept
    assert cut.ids == [begin for begin, _ in cut.offsets] == [int(piece) for piece in cut.pieces]
    assert cut.special == [special[place] == "s" for place in cut.ids]
