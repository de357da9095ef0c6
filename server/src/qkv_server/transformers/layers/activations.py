"""Activation functions by the name that Hugging Face configs give them, in place on float32.

All but ReLU are x·σ(x·p(x²)) with a polynomial p and the logistic function σ, since ½(1 + tanh a) = σ(2a). They are
passes over the whole array: hand them blocks that stay in the cache (`row_blocks`).
"""

import math
from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from qkv_server.core.scratch import scratch

Array = npt.NDArray[np.float32]
Activation = Callable[[Array], None]

# Of p with σ(x·p(x²)) ≈ Φ(x), the normal distribution, lowest power first: NumPy has no erf. Degree 6 was fitted to the
# logit of Φ by Lawson's iteration, such that x·σ(x·p(x²)) is nowhere farther than 6.7e-8 from x·Φ(x) where |x| ≤ 5.75;
# beyond, p is positive and grows, and so the factor goes to 0 or 1 as Φ does.
NORMAL = (1.59576843, 0.0726685671, -6.62600119e-05, -0.00011048031, 7.93821794e-06, -2.66892759e-07, 3.6112315e-09)
# p of ½(1 + tanh(√(2/π)·(x + 0.044715·x³))) ("Gaussian Error Linear Units", Hendrycks and Gimpel, 2016).
NORMAL_BY_TANH = (2 * math.sqrt(2 / math.pi), 2 * math.sqrt(2 / math.pi) * 0.044715)


def _gate(x: Array, coefficients: tuple[float, ...]) -> None:
    """x·σ(x·p(x²)) in place, p of these coefficients, lowest power first; the highest is positive."""
    lowest, *higher = (np.float32(-coefficient) for coefficient in coefficients)  # σ(a) = 1 / (1 + exp(−a))
    exponent: npt.NDArray[Any] = scratch("exponent of an activation", x.shape, x.dtype)
    with np.errstate(over="ignore"):  # exp(−a) may be infinite, or 0: x·σ(a) is then 0, or x, as it should be
        if higher:
            square: npt.NDArray[Any] = scratch("square of an activation", x.shape, x.dtype)
            np.multiply(x, x, out=square)
            np.multiply(square, higher[-1], out=exponent)
            for coefficient in reversed(higher[:-1]):
                exponent += coefficient
                exponent *= square
            exponent += lowest
            exponent *= x
        else:
            np.multiply(x, lowest, out=exponent)
        np.exp(exponent, out=exponent)
        exponent += 1
        np.divide(x, exponent, out=x)


def _relu(x: Array) -> None:
    np.maximum(x, 0, out=x)


_gelu: Activation = partial(_gate, coefficients=NORMAL)
_gelu_tanh: Activation = partial(_gate, coefficients=NORMAL_BY_TANH)
_silu: Activation = partial(_gate, coefficients=(1.0,))

# x (…, F) → None, in place. gelu is within 2e-7·max(1, |x|) of x·Φ(x).
ACTIVATIONS: Mapping[str, Activation] = MappingProxyType(
    {
        "gelu": _gelu,
        "gelu_new": _gelu_tanh,
        "gelu_pytorch_tanh": _gelu_tanh,
        "quick_gelu": partial(_gate, coefficients=(1.702,)),
        "relu": _relu,
        "silu": _silu,
        "swish": _silu,
    }
)
