"""Decoders of every family compute what transformers does, in whatever chunks and company their tokens come."""

from functools import cache

import numpy as np
import pytest

from qkv_server.transformers.files import read_model
from qkv_server.transformers.loading import load
from qkv_server.transformers.stacks.decoder import DecoderModel

from .tiny_models import FOLDER, questions

FAMILIES = ("gemma", "gemma2", "gemma3", "gpt2", "llama", "mistral", "qwen2", "qwen3")
CLEAR_MARGIN = 0.05  # between the two best tokens, from which on rounding does not choose


@cache
def tiny(family: str) -> DecoderModel:
    model = load(read_model(FOLDER / family))
    assert isinstance(model, DecoderModel)
    return model


@pytest.mark.parametrize("family", FAMILIES)
def test_every_position_has_the_logits_of_the_oracle(family: str) -> None:
    """Read token by token, each position has the oracle's logits within 1e-4."""
    model = tiny(family)
    for question in questions(family):
        stream = model.new_stream(len(question.ids))
        logits = [model.step([stream], [token])[0] for token in question.ids]
        np.testing.assert_allclose(np.array(logits), question.logits, rtol=0, atol=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("chunk", [1, 3, 1000])
def test_prompts_are_read_in_chunks_of_any_size(family: str, chunk: int) -> None:
    """After each chunk of a prompt its last token has the oracle's logits within 1e-4."""
    model = tiny(family)
    for question in questions(family):
        stream = model.new_stream(len(question.ids))
        for begin in range(0, len(question.ids), chunk):
            logits = model.prefill(stream, question.ids[begin : begin + chunk])
            np.testing.assert_allclose(logits, question.logits[stream.length - 1], rtol=0, atol=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_greedy_answers_are_those_of_the_oracle(family: str) -> None:
    """The likeliest token after each token of the oracle's answer is its next one, where the margin is clear.

    Streams of all questions step together, though they differ in length.
    """
    model, asked = tiny(family), questions(family)
    streams = [model.new_stream(len(question.ids) + len(question.greedy_ids)) for question in asked]
    logits = np.array([model.prefill(stream, question.ids) for stream, question in zip(streams, asked, strict=True)])
    compared = 0
    for place in range(min(len(question.greedy_ids) for question in asked)):
        for question, of_stream in zip(asked, logits, strict=True):
            if question.greedy_margins[place] > CLEAR_MARGIN:
                assert of_stream.argmax() == question.greedy_ids[place]
                compared += 1
        logits = model.step(streams, [question.greedy_ids[place] for question in asked])
    assert compared > len(asked)
