"""What the strategies of attention problems are drawn with: types, sizes, and seeded arrays of them.

Numbers come from a seeded NumPy generator, so that a failing example shrinks by its sizes and options.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np
from hypothesis import strategies as st

from qkv_server.core.problem import Array

DType = np.dtype[Any]

FLOAT64: DType = np.dtype(np.float64)
FLOAT32: DType = np.dtype(np.float32)
FLOAT16: DType = np.dtype(np.float16)
BFLOAT16: DType = np.dtype(ml_dtypes.bfloat16)
DTYPES = (FLOAT64, FLOAT32, FLOAT16, BFLOAT16)


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Sizes of a problem; letters as in the contract."""

    batch: int  # B
    heads: int  # Hq
    kv_heads: int  # Hkv
    queries: int  # L
    past: int | None  # P; None: no cache is given
    new_keys: int  # S

    @property
    def keys(self) -> int:
        """T = P + S."""
        return (self.past or 0) + self.new_keys


class Numbers:
    """Seeded arrays, each of a type drawn from a few."""

    def __init__(self, draw: st.DrawFn, dtypes: Sequence[DType]) -> None:
        self.generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
        self._draw = draw
        self._dtypes = dtypes

    def normal(self, *shape: int) -> Array:
        return self.generator.standard_normal(shape).astype(self._draw(st.sampled_from(self._dtypes)))

    def weight(self, out: int, features: int) -> Array:
        """(out, in), such that a projection keeps magnitudes about as they are."""
        values: Array = self.generator.standard_normal((out, features)) / np.sqrt(features)
        return values.astype(self._draw(st.sampled_from(self._dtypes)))


def seldom() -> st.SearchStrategy[bool]:
    """True one time in three, for options that are many and would otherwise always stand together."""
    return st.sampled_from((False, False, True))
