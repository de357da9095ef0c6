"""The parts of Marian's own: its recurrence is that of the paper, its positions end where Marian's do."""

import numpy as np
import pytest
from tiny_models import FOLDER

from qkv_server.transformers.errors import ModelFileError
from qkv_server.transformers.layers.input_embedding import sinusoids
from qkv_server.transformers.layers.linear import Linear
from qkv_server.transformers.layers.ssru import RecurrentMemory, Ssru
from qkv_server.transformers.loading import load

from .changed_config import with_config


def test_the_recurrence_is_that_of_the_paper() -> None:
    """It is c = f ⊙ c' + (1 − f) ⊙ W·x with f = σ(W_f·x + b) and relu(c), computed in float64, whoever steps beside."""
    random = np.random.default_rng(5)
    forget, candidate = random.normal(size=(2, 8, 8))
    bias = random.normal(size=8)
    inputs = random.normal(size=(3, 2, 8))  # steps, streams, features
    fused = np.concatenate((forget, candidate)).astype(np.float32)
    ssru = Ssru(Linear(fused, np.concatenate((bias, np.zeros(8))).astype(np.float32)))
    memories = [RecurrentMemory(2, 8, 4) for _ in range(2)]
    state = np.zeros((2, 8))
    for x in inputs:
        gate = 1 / (1 + np.exp(-(x @ forget.T + bias)))
        state = gate * state + (1 - gate) * (x @ candidate.T)
        found = ssru(x.astype(np.float32), memories, 1)
        np.testing.assert_allclose(found, np.maximum(state, 0), rtol=0, atol=1e-5)
    assert not memories[0].states[0].any()  # the other layer's


def test_a_gate_that_saturates_is_no_error() -> None:
    """A gate of ±1000 keeps the state, or takes the candidate, without overflow."""
    ssru = Ssru(Linear(np.array([[1000], [1]], np.float32)))
    memory = RecurrentMemory(1, 1, 2)
    with np.errstate(all="raise"):
        assert ssru(np.array([[-1]], np.float32), [memory], 0) == 0  # relu of the candidate, −1
        assert memory.states[0] == -1
        ssru(np.array([[1]], np.float32), [memory], 0)
    assert memory.states[0] == -1


def test_wavelengths_end_at_the_longest_in_marian_and_one_after_it_in_the_paper() -> None:
    """The last sine turns by 1/10000 a position in Marian, and by 10000^(−(D − 2)/D) in the paper."""
    np.testing.assert_allclose(sinusoids(2, 8, inclusive=True)[1, 3], np.sin(1e-4), rtol=1e-6)
    np.testing.assert_allclose(sinusoids(2, 8, inclusive=False)[1, 3], np.sin(1e-3), rtol=1e-6)
    np.testing.assert_array_equal(sinusoids(1, 8, inclusive=True)[0], [0, 0, 0, 0, 1, 1, 1, 1])


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"decoder_autoregression": "average"}, "'decoder_autoregression': 'average', expected 'ssru' or"),
        ({"normalize_before": True}, "'normalize_before': True, expected false"),
        ({"decoder_attention_heads": 5}, "'decoder_attention_heads': 5, expected a divisor of d_model, 32"),
        ({"activation_function": "mish"}, "'activation_function': 'mish', expected one of gelu"),
        ({"d_model": None}, "config has no 'd_model', expected a whole number from 1"),
        ({"d_model": 64}, "self_attn.q_proj.weight' has shape (32, 32), expected (64, 64)"),
    ],
)
def test_what_cannot_be_is_named(changed: dict[str, object], message: str) -> None:
    """A config that is incomplete, unknown or at odds with the tensors is refused, and the field is named."""
    with pytest.raises(ModelFileError) as refusal:
        load(with_config(FOLDER / "marian", changed))
    assert message in str(refusal.value)
