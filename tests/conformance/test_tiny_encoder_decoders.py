"""Encoder-decoders of every architecture, with random weights, compute what transformers does with their files."""

from typing import Any

import numpy as np
import pytest
from conformance.conftest import Agree
from tiny_models import Array, questions, tiny_encoder_decoder

from qkv_server.transformers.stacks.encoder_decoder import EncoderDecoderModel
from qkv_server.transformers.stacks.greedy import greedy

# Of logits. The oracle's Marian is ill-conditioned: its float32 is up to 5.4e-4 from its own float64.
TOLERANCE = {"bart": 1e-4, "marian": 1e-3, "mbart": 1e-4, "t5": 1e-4, "t5-gated": 1e-4}
CLEAR_MARGIN = 0.05  # between the two best tokens, from which on rounding does not choose

of_each = pytest.mark.parametrize("name", TOLERANCE)


def possible(model: EncoderDecoderModel[Any]) -> Array:
    """The tokens that may come: `bad_words_ids` of the oracle's settings change no logits there, but here."""
    return np.flatnonzero(np.ones(model.vocabulary_size) if model.output.bias is None else model.output.bias > -np.inf)


@of_each
def test_sources_encoded_together_have_the_states_of_the_oracle(name: str, agree: Agree) -> None:
    """Encoded in one packed batch, every source has the oracle's last hidden states within 1e-4."""
    model, asked = tiny_encoder_decoder(name), questions(name)
    lengths = [len(question.ids) for question in asked]
    ids = np.concatenate([question.ids for question in asked])
    positions = np.concatenate([np.arange(length) for length in lengths])
    states = model.encoder(model.encoder_embedding(ids, positions), lengths)
    expected = np.concatenate([question.arrays["encoder_hidden_states"][-1] for question in asked])
    agree(states, expected, within=1e-4, of="encoder states")


@of_each
def test_every_position_has_the_logits_of_the_oracle(name: str, agree: Agree) -> None:
    """Streams that step together have the oracle's logits at every position."""
    model, asked = tiny_encoder_decoder(name), questions(name)
    streams = model.start_many([question.ids for question in asked], [len(question.decoder_ids) for question in asked])
    columns = possible(model)
    for place in range(len(asked[0].decoder_ids)):
        logits = model.step(streams, [question.decoder_ids[place] for question in asked])
        expected = np.array([question.logits[place] for question in asked])
        agree(logits[:, columns], expected[:, columns], within=TOLERANCE[name], of="logits")


@of_each
def test_a_prompt_is_read_as_its_tokens_one_by_one(name: str, agree: Agree) -> None:
    """Prefill answers the oracle's logits of the last token that it was given, and remembers all of them."""
    model = tiny_encoder_decoder(name)
    columns = possible(model)
    for question in questions(name):
        stream = model.start(question.ids, len(question.decoder_ids))
        for part in (question.decoder_ids[:5], question.decoder_ids[5:]):
            logits = model.prefill(stream, part)
            expected = question.logits[stream.length - 1]
            agree(logits[columns], expected[columns], within=TOLERANCE[name], of="logits")


@of_each
def test_greedy_answers_are_those_of_the_oracle(name: str) -> None:
    """Greedy answers agree with the oracle's up to its bound, where it was free to choose and the choice was clear."""
    model, asked = tiny_encoder_decoder(name), questions(name)
    answers = greedy(model, [question.ids for question in asked])
    forced = len(model.prompt_ids) - 1  # of the oracle's answer: here it is a part of what the decoder reads first
    for question, answer in zip(asked, answers, strict=True):
        ids, margins = question.greedy_ids, question.greedy_margins
        free = ids[forced:-1] if margins[-1] is None else ids[forced:]
        assert all(margin is None or margin > CLEAR_MARGIN for margin in margins)
        assert answer[: len(free)] == free
