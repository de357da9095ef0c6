"""The rule of flash-attn's own tests, on random problems of every option: no worse than twice the plain implementation.

In float32, float16 and bfloat16 the largest error of an answer, against a float64 evaluation of the same rounded
operands, is at most twice that of an implementation whose every step is rounded to the type, plus an allowance for the
rounding of the output: eps·(max |exact| + 0.3). Source: flash-attn, hopper/test_flash_attn.py, whose `fwd_atol` is
2·max |(output + 0.3) − 0.3 − output| in the type, at most that; and whose `reorder_ops` stands for the two orders of
the scale here, of which plain is the worse.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
import pytest
from conformance import plain_attention
from conformance.random_problems import of_type, problem

from qkv_server.core import Path, Problem, attention

Array = npt.NDArray[Any]

PROBLEMS = 500
TYPES = (np.dtype(np.float32), np.dtype(np.float16), np.dtype(ml_dtypes.bfloat16))


@pytest.mark.parametrize("seed", range(PROBLEMS))
def test_errs_at_most_twice_as_much_as_plain(seed: int, record: Callable[[float], None]) -> None:
    """In each type the error is at most twice that of the plain implementation, which is right in float64."""
    asked = problem(seed)
    np.testing.assert_allclose(plain_attention.attend(asked), exact(asked), rtol=1e-10, atol=1e-10)
    shares = [share_of_plain(of_type(asked, dtype)) for dtype in TYPES]
    largest = np.max(shares)  # NaN if one is
    record(largest)
    assert largest <= 2, dict(zip(TYPES, shares, strict=True))


def share_of_plain(asked: Problem) -> float:
    """The error of the answer over the plain one's and half of the allowance: 2 is the most. NaN if NaNs differ."""
    expected = exact(asked)
    orders = [plain_attention.attend(asked, scale_first=scale_first) for scale_first in (False, True)]
    plain = max(largest_error(answered, expected) for answered in orders)
    assert np.isfinite(plain)
    error = largest_error(attention(asked).output, expected)
    return error / (plain + allowance(expected, asked.query.dtype) / 2) if error else 0.0


def allowance(expected: Array, dtype: np.dtype[Any]) -> float:
    finfo = ml_dtypes.finfo(dtype)  # type: ignore[no-untyped-call]
    return float(finfo.eps) * float(np.abs(np.nan_to_num(expected)).max(initial=0) + 0.3)


def exact(asked: Problem) -> Array:
    """The definition, in float64."""
    return attention(replace(of_type(asked, np.float64), path=Path.REFERENCE)).output


def largest_error(answered: Array, expected: Array) -> float:
    """The largest distance; NaN where only one is NaN."""
    both_nan = np.isnan(answered) & np.isnan(expected)
    return float(np.where(both_nan, 0, np.abs(answered - expected)).max(initial=0))
