"""Decoders of every architecture, with random weights, compute what transformers does with their files."""

from pathlib import Path

import numpy as np
import pytest
from conformance.conftest import Agree
from tiny_models import questions, tiny_decoder

NAMES = ("gemma", "gemma2", "gemma3", "gpt2", "llama", "llama-gguf", "mistral", "qwen2", "qwen3")
TOLERANCE = 1e-4  # of logits
CLEAR_MARGIN = 0.05  # between the two best tokens, from which on rounding does not choose

of_each = pytest.mark.parametrize("name", NAMES)


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache of the tests' own for what is converted."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


@of_each
def test_every_position_has_the_logits_of_the_oracle(name: str, agree: Agree) -> None:
    """Read token by token, each position has the oracle's logits within 1e-4."""
    model = tiny_decoder(name)
    for question in questions(name):
        stream = model.new_stream(len(question.ids))
        logits = [model.step([stream], [token])[0] for token in question.ids]
        agree(logits, question.logits, within=TOLERANCE, of="logits")


@of_each
def test_prompts_are_read_in_chunks_of_any_size(name: str, agree: Agree) -> None:
    """After each chunk of a prompt its last token has the oracle's logits within 1e-4."""
    model = tiny_decoder(name)
    for question in questions(name):
        for chunk in (1, 3, 1000):
            stream = model.new_stream(len(question.ids))
            for begin in range(0, len(question.ids), chunk):
                logits = model.prefill(stream, question.ids[begin : begin + chunk])
                agree(logits, question.logits[stream.length - 1], within=TOLERANCE, of="logits")


@of_each
def test_greedy_answers_are_those_of_the_oracle(name: str) -> None:
    """The likeliest token after each token of the oracle's answer is its next one, where the margin is clear.

    Streams of all questions step together, though they differ in length.
    """
    model, asked = tiny_decoder(name), questions(name)
    streams = [model.new_stream(len(question.ids) + len(question.greedy_ids)) for question in asked]
    logits = np.array([model.prefill(stream, question.ids) for stream, question in zip(streams, asked, strict=True)])
    compared = 0
    for place in range(min(len(question.greedy_ids) for question in asked)):
        for question, of_stream in zip(asked, logits, strict=True):
            margin = question.greedy_margins[place]
            if margin is not None and margin > CLEAR_MARGIN:
                assert of_stream.argmax() == question.greedy_ids[place]
                compared += 1
        logits = model.step(streams, [question.greedy_ids[place] for question in asked])
    assert compared > len(asked)
