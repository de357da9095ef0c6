"""When two answers are the same."""

import ml_dtypes
import numpy as np

from qkv_server.core.problem import Array


def resolution(dtype: np.dtype[np.generic]) -> float:
    """The distance from 1 to the next number of a floating type, bfloat16 among them."""
    return float(ml_dtypes.finfo(dtype).eps)  # type: ignore[no-untyped-call]


def assert_agrees(actual: Array | None, expected: Array, *, tolerance: float) -> None:
    """Require shape, NaNs and infinities of float64 `expected`, and its numbers to the rounding of actual's own type.

    The tolerance, absolute and relative, is for what was computed before that rounding.
    """
    assert actual is not None
    assert actual.shape == expected.shape
    np.testing.assert_allclose(
        actual.astype(np.float64), expected, rtol=resolution(actual.dtype) + tolerance, atol=tolerance, equal_nan=True
    )
