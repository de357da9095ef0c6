"""Activation functions are what their names say, for every float32."""

import math
from collections.abc import Callable

import numpy as np
import pytest

from qkv_server.transformers.layers.activations import ACTIVATIONS, Array

POINTS = np.concatenate(
    (
        np.linspace(-14, 14, 28001, dtype=np.float32),
        np.geomspace(1e-30, 1e30, 301, dtype=np.float32),
        -np.geomspace(1e-30, 1e30, 301, dtype=np.float32),
    )
)


def logistic(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x > -700 else 0.0


def gelu(x: float) -> float:
    return 0.5 * x * math.erfc(-x / math.sqrt(2))


def gelu_tanh(x: float) -> float:
    inner = math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x)
    return 0.5 * x * (1 + math.tanh(inner))


DEFINITIONS: dict[str, Callable[[float], float]] = {
    "gelu": gelu,
    "gelu_new": gelu_tanh,
    "gelu_pytorch_tanh": gelu_tanh,
    "quick_gelu": lambda x: x * logistic(1.702 * x),
    "relu": lambda x: max(x, 0.0),
    "silu": lambda x: x * logistic(x),
    "swish": lambda x: x * logistic(x),
}


def activated(name: str, x: Array) -> Array:
    x = x.copy()
    ACTIVATIONS[name](x)
    return x


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation_is_its_definition(name: str) -> None:
    """Each activation is within 2e-7·max(1, |x|) of its definition in float64."""
    expected = np.array([DEFINITIONS[name](float(x)) for x in POINTS])
    error = np.abs(activated(name, POINTS) - expected) / np.maximum(1, np.abs(POINTS))
    assert error.max() < 2e-7


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_no_number_is_answered_with_none(name: str) -> None:
    """NaN stays NaN, and infinity infinity."""
    answer = activated(name, np.array([np.nan, np.inf], np.float32))
    assert np.isnan(answer[0])
    assert answer[1] == np.inf


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation_works_in_place_on_a_view(name: str) -> None:
    """The columns of a larger array are activated as they are alone, and the others stay."""
    array = np.random.default_rng(0).normal(size=(40, 70)).astype(np.float32)
    before = array.copy()
    ACTIVATIONS[name](array[:, :30])
    assert (array[:, :30] == activated(name, before[:, :30])).all()
    assert (array[:, 30:] == before[:, 30:]).all()
