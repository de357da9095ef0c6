"""Where tokens stand, for stacks that turn queries and keys by it."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from qkv_server.core import LinearScaling, Llama3Scaling, YarnScaling
from qkv_server.core.rotary_scaling import unscaled

Array = npt.NDArray[Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class RotaryDescription:
    """How positions turn queries and keys ("RoFormer", Su et al., 2021)."""

    base: float
    scaling: LinearScaling | YarnScaling | Llama3Scaling | None = None


def rotary_turns(rotary: RotaryDescription, positions: Array, head_size: int) -> Array:
    """What features are multiplied by at positions (N,), as pairs of complex numbers: complex64 (N, 1, Dh / 2).

    Two features that are turned together are the real and the imaginary part of one number, which is times
    amplitude·exp(i·position·frequency) then ("RoFormer", Su et al., 2021, section 3.2.1).
    """
    frequencies, amplitude = _frequencies(rotary, head_size)
    angles = positions[:, None, None] * frequencies
    return (amplitude * np.exp(1j * angles)).astype(np.complex64)


def turn(heads: Array, turns: Array) -> None:
    """Turn heads (N, H, Dh) float32, whose pairs lie side by side, in place."""
    pairs = heads.view(np.complex64)
    pairs *= turns


def pairs_side_by_side(rows: Array, head_size: int) -> Array:
    """Rows (H·Dh, …) of a query or key layer whose pairs are features i and i + Dh / 2, with pairs at 2i and 2i + 1.

    Queries and keys in the same new order have the same products.
    """
    return rows.reshape(-1, 2, head_size // 2, *rows.shape[1:]).swapaxes(1, 2).reshape(rows.shape)


@lru_cache
def _frequencies(rotary: RotaryDescription, head_size: int) -> tuple[Array, float]:
    """Radians a position of each of the Dh / 2 pairs, and the amplitude."""
    if rotary.scaling is None:
        return unscaled(rotary.base, head_size), 1.0
    return rotary.scaling.frequencies(rotary.base, head_size, 0), rotary.scaling.amplitude
