"""Encoder-decoders of every family compute what transformers does, in whatever company their streams step."""

import json
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from qkv_server.transformers.files import read_model
from qkv_server.transformers.loading import load
from qkv_server.transformers.stacks.encoder_decoder import EncoderDecoderModel
from qkv_server.transformers.stacks.greedy import greedy

from .tiny_models import FOLDER

FAMILIES = ("bart", "marian", "mbart", "t5", "t5-gated")
CLEAR_MARGIN = 0.05  # between the two best tokens, from which on rounding does not choose

# Of logits. The oracle's Marian is ill-conditioned: its float32 is up to 5.4e-4 from its own float64.
TOLERANCE = {"bart": 1e-4, "marian": 1e-3, "mbart": 1e-4, "t5": 1e-4, "t5-gated": 1e-4}

Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class Question:
    source: list[int]
    decoder_ids: list[int]  # what the decoder reads: its start and the answer
    states: Array  # (S, D) of the encoder
    logits: Array  # (T, V)
    answer: list[int]
    margins: list[float | None]  # None where the oracle was not free to choose


@cache
def questions(family: str) -> list[Question]:
    arrays = np.load(FOLDER / family / "goldens.npz")
    asked = json.loads((FOLDER / family / "goldens.json").read_text())["questions"]
    return [
        Question(
            source=question["input_ids"],
            decoder_ids=question["decoder_ids"],
            states=arrays[f"{number}/encoder_hidden_states"][-1],
            logits=arrays[f"{number}/logits"],
            answer=question["greedy"]["ids"],
            margins=question["greedy"]["margins"],
        )
        for number, question in enumerate(asked)
    ]


@cache
def tiny(family: str) -> EncoderDecoderModel[Any]:
    model = load(read_model(FOLDER / family))
    assert isinstance(model, EncoderDecoderModel)
    return model


def possible(model: EncoderDecoderModel[Any]) -> Array:
    """The tokens that may come: `bad_words_ids` of the oracle's settings change no logits there, but here."""
    return np.flatnonzero(np.ones(model.vocabulary_size) if model.output.bias is None else model.output.bias > -np.inf)


@pytest.mark.parametrize("family", FAMILIES)
def test_sources_encoded_together_have_the_states_of_the_oracle(family: str) -> None:
    """Encoded in one packed batch, every source has the oracle's last hidden states within 1e-4."""
    model, asked = tiny(family), questions(family)
    lengths = [len(question.source) for question in asked]
    ids = np.concatenate([question.source for question in asked])
    positions = np.concatenate([np.arange(length) for length in lengths])
    states = model.encoder(model.encoder_embedding(ids, positions), lengths)
    np.testing.assert_allclose(states, np.concatenate([question.states for question in asked]), rtol=0, atol=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_position_has_the_logits_of_the_oracle(family: str) -> None:
    """Streams that step together have the oracle's logits at every position."""
    model, asked = tiny(family), questions(family)
    streams = model.start_many(
        [question.source for question in asked], [len(question.decoder_ids) for question in asked]
    )
    columns = possible(model)
    for place in range(len(asked[0].decoder_ids)):
        logits = model.step(streams, [question.decoder_ids[place] for question in asked])
        expected = np.array([question.logits[place] for question in asked])
        np.testing.assert_allclose(logits[:, columns], expected[:, columns], rtol=0, atol=TOLERANCE[family])


@pytest.mark.parametrize("family", FAMILIES)
def test_a_prompt_is_read_as_its_tokens_one_by_one(family: str) -> None:
    """Prefill answers the oracle's logits of the last token that it was given, and remembers all of them."""
    model = tiny(family)
    for question in questions(family):
        stream = model.start(question.source, len(question.decoder_ids))
        for part in (question.decoder_ids[:5], question.decoder_ids[5:]):
            logits, columns = model.prefill(stream, part), possible(model)
            expected = question.logits[stream.length - 1]
            np.testing.assert_allclose(logits[columns], expected[columns], rtol=0, atol=TOLERANCE[family])


@pytest.mark.parametrize("family", FAMILIES)
def test_greedy_answers_are_those_of_the_oracle(family: str) -> None:
    """Greedy answers agree with the oracle's up to its bound, where it was free to choose and the choice was clear."""
    model, asked = tiny(family), questions(family)
    answers = greedy(model, [question.source for question in asked])
    forced = len(model.prompt_ids) - 1  # of the oracle's answer: here it is a part of what the decoder reads first
    for question, answer in zip(asked, answers, strict=True):
        free = question.answer[forced:-1] if question.margins[-1] is None else question.answer[forced:]
        assert all(margin is None or margin > CLEAR_MARGIN for margin in question.margins)
        assert answer[: len(free)] == free


@pytest.mark.parametrize("family", FAMILIES)
def test_answers_do_not_depend_on_company(family: str) -> None:
    """A source has the same answer alone, among others, and among many batches."""
    model = tiny(family)
    sources = [question.source[:length] for question in questions(family) for length in range(1, len(question.source))]
    assert greedy(model, sources, batch_size=4) == [greedy(model, [source])[0] for source in sources]


def test_a_source_must_have_tokens_and_not_too_many() -> None:
    """Sources of no tokens, of more than the model reads, and of tokens that it has not, are refused."""
    model = tiny("bart")
    with pytest.raises(ValueError, match="0 tokens, expected 1 to 64"):
        model.start([], 8)
    with pytest.raises(ValueError, match="65 tokens, expected 1 to 64"):
        model.start([5] * 65, 8)
    with pytest.raises(ValueError, match="token 301 is not in the vocabulary of 301"):
        model.start([5, 301], 8)


def test_a_stream_must_fit_into_the_context() -> None:
    """A stream for no tokens, or for more than the decoder has positions, is refused."""
    model = tiny("marian")
    for capacity in (0, 65):
        with pytest.raises(ValueError, match=f"capacity is {capacity}, expected 1 to 64"):
            model.start([5], capacity)


def test_every_stream_of_a_step_has_one_token() -> None:
    """Steps with fewer or more tokens than streams, and chunks of none, are refused."""
    model = tiny("t5")
    stream = model.start([5, 1], 4)
    for ids in ([], [1, 2]):
        with pytest.raises(ValueError, match=f"there are {len(ids)} tokens for 1 streams"):
            model.step([stream], ids)
    with pytest.raises(ValueError, match="there are no tokens to read"):
        model.prefill(stream, [])


@pytest.mark.parametrize("family", ["bart", "t5"])
def test_a_full_stream_reads_nothing(family: str) -> None:
    """A step beyond the capacity of one stream is refused, and no stream has read anything."""
    model = tiny(family)
    full, other = model.start_many([questions(family)[0].source] * 2, [1, 4])
    model.prefill(full, [2])
    with pytest.raises(ValueError, match="1 tokens and 1 more do not fit into 1"):
        model.step([other, full], [3, 3])
    with pytest.raises(ValueError, match="0 tokens and 5 more do not fit into 4"):
        model.prefill(other, [3] * 5)
    assert (full.length, other.length) == (1, 0)


def test_tokens_that_may_never_come_have_no_probability() -> None:
    """`bad_words_ids` of one token have −inf for a logit."""
    model = tiny("marian")
    logits = model.prefill(model.start(questions("marian")[0].source, 4), model.prompt_ids)
    assert np.flatnonzero(logits == -np.inf).tolist() == [2]
