"""A stream remembers what it was given, up to its capacity, and can be copied."""

import mmap
import sys
from pathlib import Path

import numpy as np
import pytest
from tiny_models import questions, tiny_decoder

from qkv_server.transformers.layers.key_value_cache import KeyValueCache


def test_a_copy_goes_on_as_the_stream_would() -> None:
    """A copy of a beginning gives the logits of the whole prompt, to the last bit."""
    model, question = tiny_decoder("llama"), questions("llama")[1]
    whole = model.new_stream(len(question.ids))
    model.prefill(whole, question.ids[:6])
    expected = model.prefill(whole, question.ids[6:])
    copied = whole.copy(6, len(question.ids))
    assert model.prefill(copied, question.ids[6:]).tobytes() == expected.tobytes()


def test_a_full_stream_refuses_more_and_has_read_nothing() -> None:
    """One token too many is an error, for a chunk and for a step of which other streams have room."""
    model = tiny_decoder("llama")
    full, roomy = model.new_stream(2), model.new_stream(9)
    with pytest.raises(ValueError, match="0 tokens and 3 more do not fit into 2"):
        model.prefill(full, [5, 6, 7])
    model.prefill(full, [5, 6])
    with pytest.raises(ValueError, match="2 tokens and 1 more do not fit into 2"):
        model.step([roomy, full], [5, 6])
    assert (roomy.length, full.length) == (0, 2)


def test_a_capacity_is_within_the_context() -> None:
    """A stream holds one token at least, and no more than the model can tell apart."""
    model = tiny_decoder("gpt2")
    for capacity in (0, model.context_tokens + 1):
        with pytest.raises(ValueError, match=f"capacity is {capacity}"):
            model.new_stream(capacity)


def test_tokens_outside_the_vocabulary_are_refused() -> None:
    """A token that the vocabulary does not have is an error that names it."""
    model = tiny_decoder("llama")
    for token in (-1, model.vocabulary_size):
        with pytest.raises(ValueError, match=f"token {token} is not in the vocabulary"):
            model.prefill(model.new_stream(3), [1, token])


@pytest.mark.parametrize("length", [-1, 3])
def test_lengths_outside_are_refused(length: int) -> None:
    """A copy of a stream of two tokens has no fewer than none, and no more than these."""
    stream = KeyValueCache(layers=1, kv_heads=1, head_size=2, capacity=4)
    stream.remember(0, np.zeros((2, 1, 2, 2), np.float32))
    stream.length = 2
    with pytest.raises(ValueError, match=f"length is {length}"):
        stream.copy(length, 4)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_is_taken_as_tokens_come() -> None:
    """A large stream that has read one token takes a small part of what it takes when it is full."""
    stream = KeyValueCache(layers=30, kv_heads=3, head_size=64, capacity=2000)
    before = resident()
    for layer in range(30):
        stream.remember(layer, np.ones((2, 3, 1, 64), np.float32))
    assert resident() - before < stream.nbytes / 10


def resident() -> int:
    """Bytes of memory that this process has now."""
    return int(Path("/proc/self/statm").read_text("ascii").split()[1]) * mmap.PAGESIZE
