"""Attention as one writes it in NumPy: what every peer serves, and what every answer is checked against."""

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Shape = tuple[int, ...]


def operands(shape: Shape) -> tuple[Array, Array, Array]:
    """A query, a key and a value of standard normal float32, each (B, H, L, D)."""
    generator = np.random.default_rng(0)
    query, key, value = (generator.standard_normal(shape, dtype=np.float32) for _ in range(3))
    return query, key, value


def attention(query: Array, key: Array, value: Array) -> Array:
    """softmax(query·keyᵀ / √D)·value on whole arrays: (B, H, L, D) three times in, (B, H, L, D) out."""
    scores = query @ key.swapaxes(-1, -2) / np.float32(np.sqrt(query.shape[-1]))
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    weights /= weights.sum(axis=-1, keepdims=True)
    output: Array = weights @ value
    return output
