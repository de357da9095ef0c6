"""Which types operands may have, and in which types they are computed.

Types are known by name, so that bfloat16 (from ml_dtypes, registered with NumPy) needs no import here.
"""

from typing import Any

import numpy as np

DType = np.dtype[Any]

FLOATING = ("float64", "float32", "float16", "bfloat16")


def is_floating(dtype: DType) -> bool:
    """Whether attention can be computed on this type."""
    return dtype.name in FLOATING


def compute_type(*dtypes: DType) -> DType:
    """The type of the matrix products: float64 if any operand is float64, else float32.

    16-bit operands are computed wide and rounded once, at the end.
    """
    return np.dtype(np.float64 if any(dtype.name == "float64" for dtype in dtypes) else np.float32)


def widened(array: np.ndarray[Any, DType], compute: DType) -> np.ndarray[Any, DType]:
    """The array in the compute type; the array itself if it has it already."""
    return array.astype(compute, copy=False)
