"""The core against ONNX's own reference evaluator, operator Attention of opset 25, on random configurations."""

import pytest
from hypothesis import given, settings

from qkv_server.core import Problem, attention

from .agreement import assert_agrees, resolution
from .arrays import BFLOAT16, FLOAT16, FLOAT32, FLOAT64, DType
from .onnx_oracle import onnx_answer, onnx_problems


def assert_agrees_with_onnx(problem: Problem, tolerance: float) -> None:
    """Require ONNX's numbers, computed in float64, and the types and shapes of its answer in the problem's own type."""
    answer = attention(problem)
    native = onnx_answer(problem)
    for name, expected in onnx_answer(problem, FLOAT64).items():
        actual = getattr(answer, name)
        assert (actual.dtype, actual.shape) == (native[name].dtype, native[name].shape)
        assert_agrees(actual, expected, tolerance=tolerance)


@settings(max_examples=150, deadline=None)
@given(problem=onnx_problems())
def test_float64_agrees_with_onnx(problem: Problem) -> None:
    """Whatever ONNX Attention can be asked in float64 is answered as its reference evaluator answers."""
    assert_agrees_with_onnx(problem, tolerance=2e-12)


@settings(max_examples=80, deadline=None)
@given(problem=onnx_problems(dtype=FLOAT32))
def test_float32_agrees_with_onnx(problem: Problem) -> None:
    """float32 is answered as ONNX answers in float64, to the rounding of float32 arithmetic."""
    assert_agrees_with_onnx(problem, tolerance=1e-5)


@settings(max_examples=50, deadline=None)
@given(problem=onnx_problems(dtype=FLOAT32))
def test_float32_agrees_with_onnx_in_float32(problem: Problem) -> None:
    """float32 is answered as ONNX answers in float32."""
    answer = attention(problem)
    for name, expected in onnx_answer(problem).items():
        assert_agrees(getattr(answer, name), expected, tolerance=1e-5)


@pytest.mark.parametrize("dtype", [FLOAT16, BFLOAT16], ids=lambda dtype: dtype.name)
def test_half_precision_is_within_one_unit_in_the_last_place_of_onnx_in_float64(dtype: DType) -> None:
    """16-bit operands are answered as ONNX answers in float64, rounded once to their type."""

    @settings(max_examples=100, deadline=None)
    @given(problem=onnx_problems(dtype=dtype))
    def agrees(problem: Problem) -> None:
        assert_agrees_with_onnx(problem, tolerance=1e-5)

    agrees()


@pytest.mark.parametrize("precision", [FLOAT64, FLOAT32, FLOAT16, BFLOAT16], ids=lambda precision: precision.name)
def test_softmax_precision_agrees_with_onnx(precision: DType) -> None:
    """A softmax in any of the four types agrees with ONNX's in the same type, to that type's resolution."""

    @settings(max_examples=60, deadline=None)
    @given(problem=onnx_problems(softmax_precisions=(precision,)))
    def agrees(problem: Problem) -> None:
        assert_agrees_with_onnx(problem, tolerance=max(2e-12, 32 * resolution(precision)))

    agrees()
