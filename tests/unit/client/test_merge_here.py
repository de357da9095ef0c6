"""`qkv.merge`, in this process, is the server's Merge to the last bit, and refuses what it refuses."""

import re
from typing import Any, get_args

import hypothesis.extra.numpy as hnp
import ml_dtypes
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import qkv
from qkv._options import AxisOrderName, LogBaseName
from qkv_server import core

Array = npt.NDArray[Any]
Parts = list[tuple[Array, Array]]
Shape = tuple[int, ...]

DTYPES = tuple(np.dtype(name) for name in (np.float64, np.float32, np.float16, ml_dtypes.bfloat16))
AXIS_ORDERS: tuple[AxisOrderName, ...] = get_args(AxisOrderName)
LOG_BASES: tuple[LogBaseName, ...] = get_args(LogBaseName)
SIZES = st.integers(0, 3)
ODD = (0.0, -0.0, 1e300, -1e300, float("nan"), float("inf"), -float("inf"))


def arrays(shape: Shape) -> st.SearchStrategy[Array]:
    """Arrays of any type and shape, in C order or the other way round, of numbers large and small and none."""
    numbers = st.floats(-20, 20) | st.sampled_from(ODD)

    def laid(values: Array, dtype: np.dtype[Any], reverse: bool) -> Array:
        with np.errstate(all="ignore"):  # 1e300 is infinite in the narrower types
            typed = values.astype(dtype)
        return np.asfortranarray(typed) if reverse else typed

    values = hnp.arrays(np.float64, shape, elements=numbers)
    return st.builds(laid, values, st.sampled_from(DTYPES), st.booleans())


@st.composite
def shapes(draw: st.DrawFn, axis_order: AxisOrderName) -> tuple[Shape, Shape]:
    """The shapes of an output and of its log-sum-exp, at any rank."""
    batch, queries, size = draw(SIZES), draw(SIZES), draw(SIZES)
    heads = draw(st.integers(1, 3))
    match draw(st.sampled_from(("one head", 2, 3, 4))):
        case "one head":
            return (queries, size), (queries,)
        case 2:
            return (queries, heads * size), (heads, queries)
        case 3:
            return (batch, queries, heads * size), (batch, heads, queries)
        case _:
            per_head = (heads, queries) if axis_order == "heads_first" else (queries, heads)
            return (batch, *per_head, size), (batch, heads, queries)


@st.composite
def questions(draw: st.DrawFn) -> tuple[Parts, AxisOrderName, LogBaseName]:
    """Parts that can be merged; some see nothing in some or in all of their rows, where the output is NaN."""
    axis_order = draw(st.sampled_from(AXIS_ORDERS))
    output_shape, logs_shape = draw(shapes(axis_order))
    parts: Parts = []
    for _ in range(draw(st.integers(1, 4))):
        output, logs = draw(arrays(output_shape)), draw(arrays(logs_shape))
        if draw(st.booleans()):
            output, logs = np.full_like(output, np.nan), np.full_like(logs, -np.inf)
        parts.append((output, logs))
    return parts, axis_order, draw(st.sampled_from(LOG_BASES))


def merged_by_the_core(parts: Parts, axis_order: AxisOrderName, log_base: LogBaseName) -> core.PartialResult:
    return core.merge(
        [core.PartialResult(output=output, log_sum_exp=logs) for output, logs in parts],
        core.AxisOrder[axis_order.upper()],
        core.LogBase[log_base.upper()],
    )


@settings(max_examples=200, deadline=None)
@given(questions())
def test_the_bits_are_those_of_the_server(question: tuple[Parts, AxisOrderName, LogBaseName]) -> None:
    """Output and log-sum-exp have the shape, the type and every bit of the core's, whatever the parts are."""
    parts, axis_order, log_base = question
    found = qkv.merge(parts, axis_order=axis_order, log_base=log_base)
    expected = merged_by_the_core(parts, axis_order, log_base)
    for array, wanted in ((found.output, expected.output), (found.log_sum_exp, expected.log_sum_exp)):
        assert (array.dtype, array.shape) == (wanted.dtype, wanted.shape)
        assert array.tobytes() == wanted.tobytes()


def test_a_part_that_saw_nothing_is_not_read() -> None:
    """Where the log-sum-exp is −inf, NaN in the output does not matter; where all are, the answer is 0."""
    nothing = (np.full((2, 3), np.nan), np.full(2, -np.inf))
    something = (np.ones((2, 3)), np.array([0.5, -np.inf]))
    output, logs = qkv.merge([nothing, something, nothing])
    np.testing.assert_array_equal(output, [[1.0, 1.0, 1.0], [0.0, 0.0, 0.0]])
    np.testing.assert_array_equal(logs, [0.5, -np.inf])


@pytest.mark.parametrize(("base", "double"), [("e", np.log(2)), ("two", 1.0)])
def test_two_equal_parts_are_their_mean(base: LogBaseName, double: float) -> None:
    """Two parts with the same log-sum-exp count the same; that of both is larger by the logarithm of 2 in the base."""
    first, second = (np.array([[1.0, 3.0]]), np.array([5.0])), (np.array([[3.0, 5.0]]), np.array([5.0]))
    output, logs = qkv.merge([first, second], log_base=base)
    np.testing.assert_allclose(output, [[2.0, 4.0]], rtol=1e-15)
    np.testing.assert_allclose(logs, [5.0 + double], rtol=1e-15)


def test_a_merger_is_a_part() -> None:
    """What comes back can be merged again, and unpacked."""
    part = (np.array([[1.0, 3.0]]), np.array([5.0]))
    again = qkv.merge([qkv.merge([part, part]), part])
    np.testing.assert_allclose(again.output, part[0], rtol=1e-15)
    np.testing.assert_allclose(again.log_sum_exp, part[1] + np.log(3), rtol=1e-15)


def test_numbers_that_python_wrote_are_float64() -> None:
    """Lists are parts too."""
    output, logs = qkv.merge([([[1, 2]], [0])])
    assert output.dtype == logs.dtype == np.float64
    assert output.tolist() == [[1.0, 2.0]]


def ones(*shape: int, dtype: Any = np.float64) -> Array:
    return np.ones(shape, dtype)


WRONG: dict[str, Parts] = {
    "no part": [],
    "integers": [(ones(3, 4, dtype=np.int64), ones(3))],
    "booleans": [(ones(3, 4), ones(3, dtype=np.bool_))],
    "rank 1": [(ones(3), ones(3))],
    "rank 5": [(ones(1, 1, 1, 3, 4), ones(3))],
    "other outputs": [(ones(3, 4), ones(3)), (ones(3, 5), ones(3))],
    "other logarithms": [(ones(3, 4), ones(3)), (ones(3, 4), ones(1, 3))],
    "several": [(ones(3, 4), ones(3)), (ones(3, 5), ones(2)), (ones(3, 4, dtype=np.int8), ones(3))],
    "rows": [(ones(3, 4), ones(4))],
    "a column": [(ones(3, 4), ones(3, 1))],
    "heads that do not divide": [(ones(3, 4), ones(3, 3))],
    "no heads": [(ones(3, 4), ones(0, 3))],
    "no heads axis": [(ones(2, 3, 4), ones(2, 3))],
    "axes swapped": [(ones(2, 5, 3, 4), ones(2, 3, 5))],
    "scalar": [(ones(3, 4), ones())],
}


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_be_merged_is_refused(name: str) -> None:
    """What the core refuses is a ValueError that names the same parts."""
    with pytest.raises(core.InvalidProblemError) as of_core:
        merged_by_the_core(WRONG[name], "heads_first", "e")
    with pytest.raises(ValueError, match=r"^parts") as refused:
        qkv.merge(WRONG[name])
    named = re.findall(r"(?:^|; )(parts[^:]*): ", str(refused.value))
    assert sorted(named) == sorted(violation.field for violation in of_core.value.violations)


def test_wrong_options_are_refused() -> None:
    """A choice that is none is a ValueError that names the choices."""
    wrong: Any = "sideways"
    with pytest.raises(ValueError, match=r"^axis_order: is 'sideways', expected one of 'heads_first', 'seq"):
        qkv.merge([], axis_order=wrong)
    with pytest.raises(ValueError, match=r"^log_base: is 'sideways', expected one of 'e', 'two'$"):
        qkv.merge([], log_base=wrong)


@pytest.mark.parametrize("part", [3, (1.0,), (1.0, 2.0, 3.0), None], ids=repr)
def test_what_is_no_part_is_refused(part: Any) -> None:
    """A part that is neither a result nor a pair is a TypeError that says which it is."""
    with pytest.raises(TypeError, match=r"^parts\[1\]: expected a result, or a pair \(output, log_sum_exp\)"):
        qkv.merge([(ones(3, 4), ones(3)), part])


def test_results_need_their_log_sum_exp() -> None:
    """A result that was not asked for its log-sum-exp says how to ask."""
    report = qkv.Report("tiled", 0.0, 0.0)
    result = qkv.AttentionResult(output=ones(3, 4), semantics_version=1, report=report)
    with pytest.raises(ValueError, match=r'^parts\[0\]: has no log_sum_exp, .*outputs=\["log_sum_exp"\]'):
        qkv.merge([result])
    whole = qkv.AttentionResult(output=ones(3, 4), log_sum_exp=ones(3), semantics_version=1, report=report)
    assert qkv.merge([whole]).log_sum_exp.tolist() == [1.0, 1.0, 1.0]
