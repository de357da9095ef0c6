"""Which types operands may have, and in which types they are computed.

Types are known by name, so that bfloat16 (from ml_dtypes, registered with NumPy) needs no import here.
"""

from functools import cache
from typing import Any

import numpy as np

DType = np.dtype[Any]

FLOAT64 = np.dtype(np.float64)
FLOAT32 = np.dtype(np.float32)
FLOATING = ("float64", "float32", "float16", "bfloat16")


@cache  # NumPy makes the name of a type anew each time, which small calls would feel
def is_floating(dtype: DType) -> bool:
    """Whether attention can be computed on this type."""
    return dtype.name in FLOATING


def compute_type(*dtypes: DType) -> DType:
    """The type of the matrix products: float64 if any operand is float64, else float32.

    16-bit operands are computed wide and rounded once, at the end.
    """
    return FLOAT64 if any(dtype == FLOAT64 for dtype in dtypes) else FLOAT32


def widened(array: np.ndarray[Any, DType], compute: DType) -> np.ndarray[Any, DType]:
    """The array in the compute type; the array itself if it has it already."""
    return array.astype(compute, copy=False)
