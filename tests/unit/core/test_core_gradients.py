"""Gradients of attention, against central differences of its output, and path against path."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qkv_server.core import (
    EmptyRow,
    Gradients,
    InvalidProblemError,
    Path,
    Problem,
    Visibility,
    attention,
    check,
    differentiate,
    solve_gradients,
    spread_over,
)
from qkv_server.core.problem import Array

from .agreement import resolution
from .arrays import BFLOAT16, FLOAT16, FLOAT32, FLOAT64, DType
from .paths import FAST, possible_paths
from .problems import problems

pytestmark = pytest.mark.usefixtures("small_tiles")

STEP = 1e-6
OPERANDS: dict[str, Callable[[Problem], Array | None]] = {
    "d_query": lambda problem: problem.query,
    "d_key": lambda problem: problem.key,
    "d_value": lambda problem: problem.value,
    "d_mask": lambda problem: problem.visibility.mask,
    "d_sinks": lambda problem: problem.scoring.sinks,
}


def moved(problem: Problem, gradient: str, change: Array) -> Problem:
    """The problem with the operand of a gradient changed."""
    operand = OPERANDS[gradient](problem)
    assert operand is not None
    name, changed = gradient.removeprefix("d_"), operand + change
    if name == "mask":
        return replace(problem, visibility=replace(problem.visibility, mask=changed))
    if name == "sinks":
        return replace(problem, scoring=replace(problem.scoring, sinks=changed))
    return replace(problem, **{name: changed})  # type: ignore[arg-type]


def has_gradient(problem: Problem, gradient: str) -> bool:
    operand = OPERANDS[gradient](problem)
    return operand is not None and operand.dtype != np.bool_


def with_empty_rows_of_zero(problem: Problem) -> Problem:
    """The problem with numbers for an answer of NaN: both are constant."""
    if problem.visibility.empty_row is not EmptyRow.NAN:
        return problem
    return replace(problem, visibility=replace(problem.visibility, empty_row=EmptyRow.ZERO))


def random_like(array: Array, seed: int) -> Array:
    return np.random.default_rng(seed).standard_normal(array.shape)


@settings(max_examples=120, deadline=None)
@given(problem=problems(), seed=st.integers(0, 2**32 - 1))
def test_gradients_are_the_slopes_of_the_answer(problem: Problem, seed: int) -> None:
    """In any problem, moving an operand in any direction changes Σ d_output·output as its gradient says."""
    problem = replace(problem, outputs=frozenset())
    d_output = random_like(attention(problem).output, seed)
    gradients = differentiate(problem, d_output)
    problem = with_empty_rows_of_zero(problem)
    for number, name in enumerate(OPERANDS):
        gradient: Array | None = getattr(gradients, name)
        if not has_gradient(problem, name):
            assert gradient is None
            continue
        assert gradient is not None
        direction = random_like(gradient, seed + 1 + number)
        ahead, behind = (
            float(np.sum(d_output * attention(moved(problem, name, step * direction)).output)) for step in (STEP, -STEP)
        )
        slope = float(np.sum(gradient * direction))
        assert slope == pytest.approx((ahead - behind) / (2 * STEP), rel=1e-5, abs=1e-6), name


@settings(max_examples=50, deadline=None)
@given(problem=problems(), seed=st.integers(0, 2**32 - 1))
def test_gradients_are_shaped_as_their_operands_and_0_where_the_mask_hides(problem: Problem, seed: int) -> None:
    """Axes that a mask broadcasts are summed, keys that it does not reach are not there, and hidden pairs have none."""
    gradients = differentiate(problem, random_like(attention(problem).output, seed))
    for name, operand in ((name, of(problem)) for name, of in OPERANDS.items() if has_gradient(problem, name)):
        assert operand is not None
        gradient = getattr(gradients, name)
        assert (gradient.shape, gradient.dtype) == (operand.shape, operand.dtype)
        if name == "d_mask":
            np.testing.assert_array_equal(gradient[np.isneginf(operand)], 0)


def assert_gradients_agree(actual: Gradients, expected: Gradients, tolerance: float) -> None:
    for name in OPERANDS:
        got, want = getattr(actual, name), getattr(expected, name)
        assert (got is None) == (want is None)
        if want is not None:
            np.testing.assert_allclose(
                got.astype(FLOAT64), want.astype(FLOAT64), rtol=tolerance, atol=tolerance, err_msg=name
            )


@pytest.mark.parametrize("path", FAST)
@settings(max_examples=50, deadline=None)
@given(problem=problems().filter(lambda problem: len(possible_paths(problem)) > 1), seed=st.integers(0, 2**32 - 1))
def test_every_path_has_the_gradients_of_the_reference(path: Path, problem: Problem, seed: int) -> None:
    """On random problems with all options, gradients of every path are those of the definition."""
    d_output = random_like(attention(problem).output, seed)
    actual, expected = (differentiate(replace(problem, path=chosen), d_output) for chosen in (path, Path.REFERENCE))
    assert actual.path is path
    assert_gradients_agree(actual, expected, tolerance=1e-10)


def in_type(problem: Problem, dtype: DType) -> Problem:
    """The problem with query, key, value, mask, sinks and caches in a type, and parameters as they are."""

    def typed(array: Array | None) -> Array | None:
        return array if array is None or array.dtype == np.bool_ else array.astype(dtype)

    return replace(
        problem,
        query=problem.query.astype(dtype),
        key=typed(problem.key),
        value=typed(problem.value),
        past_key=typed(problem.past_key),
        past_value=typed(problem.past_value),
        visibility=replace(problem.visibility, mask=typed(problem.visibility.mask)),
        scoring=replace(problem.scoring, sinks=typed(problem.scoring.sinks)),
    )


@pytest.mark.parametrize("dtype", [FLOAT32, FLOAT16, BFLOAT16], ids=lambda dtype: dtype.name)
def test_narrow_gradients_are_rounded_once(dtype: DType) -> None:
    """In a narrow type gradients have that type, and are those in float64 to its rounding."""

    @settings(max_examples=25, deadline=None)
    @given(problem=problems(dtypes=(dtype,)), seed=st.integers(0, 2**32 - 1), data=st.data())
    def agrees(problem: Problem, seed: int, data: st.DataObject) -> None:
        problem = replace(problem, path=data.draw(st.sampled_from(possible_paths(problem))))
        d_output = random_like(attention(problem).output, seed).astype(dtype)
        actual = differentiate(problem, d_output)
        assert {getattr(actual, name).dtype for name in OPERANDS if getattr(actual, name) is not None} == {dtype}
        expected = differentiate(in_type(problem, FLOAT64), d_output)
        assert_gradients_agree(actual, expected, tolerance=resolution(dtype) + 3e-4)

    agrees()


@settings(max_examples=40, deadline=None)
@given(problem=problems(), seed=st.integers(0, 2**32 - 1), data=st.data())
def test_rows_that_see_nothing_have_no_say(problem: Problem, seed: int, data: st.DataObject) -> None:
    """Answered with NaN they change no gradient against an answer of 0, on any path."""
    problem = replace(problem, path=data.draw(st.sampled_from(possible_paths(problem))))
    d_output = random_like(attention(problem).output, seed)
    zero = with_empty_rows_of_zero(problem)
    assert_gradients_agree(differentiate(problem, d_output), differentiate(zero, d_output), tolerance=0)


@settings(max_examples=30, deadline=None)
@given(problem=problems(dtypes=(FLOAT32,)), seed=st.integers(0, 2**32 - 1), data=st.data())
def test_threads_change_no_bit(problem: Problem, seed: int, data: st.DataObject) -> None:
    """One thread or three, the bytes of the gradients are the same."""
    problem = replace(problem, path=data.draw(st.sampled_from(possible_paths(problem))))
    d_output = random_like(attention(problem).output, seed)
    alone = differentiate(problem, d_output)
    with ThreadPoolExecutor(3) as executor:
        spread = solve_gradients(problem, check(problem), d_output, spread_over(executor, 2), 3)
    for name in OPERANDS:
        one, three = getattr(alone, name), getattr(spread, name)
        assert (one is None) == (three is None)
        assert one is None or one.tobytes() == three.tobytes()


@settings(max_examples=40, deadline=None)
@given(problem=problems(), seed=st.integers(0, 2**32 - 1))
def test_an_operand_that_was_not_given_is_part_of_the_one_it_stands_for(problem: Problem, seed: int) -> None:
    """The query's gradient of self-attention is the sum of those of query, key and value, given apart."""
    problem = replace(problem, path=Path.REFERENCE)
    d_output = random_like(attention(problem).output, seed)
    together = differentiate(problem, d_output)
    key = problem.query if problem.key is None else problem.key
    value = key if problem.value is None else problem.value
    apart = differentiate(replace(problem, key=key, value=value), d_output)
    assert apart.d_key is not None
    assert apart.d_value is not None
    d_key = apart.d_key + (apart.d_value if problem.value is None else 0)
    d_query = apart.d_query + (d_key if problem.key is None else 0)
    np.testing.assert_allclose(together.d_query, d_query, rtol=1e-12, atol=1e-12)
    if problem.key is not None:
        assert together.d_key is not None
        np.testing.assert_allclose(together.d_key, d_key, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("path", Path)
def test_gradients_by_hand(path: Path) -> None:
    """Two keys of equal score: the values share the gradient, and the query moves towards the larger value's key."""
    problem = Problem(query=np.zeros((1, 1)), key=np.array([[1.0], [-1.0]]), value=np.array([[1.0], [3.0]]), path=path)
    gradients = differentiate(problem, np.ones((1, 1)))
    np.testing.assert_allclose(gradients.d_query, [[-1.0]], rtol=1e-14)
    np.testing.assert_array_equal(gradients.d_key, [[0.0], [0.0]])
    assert gradients.d_value is not None
    np.testing.assert_allclose(gradients.d_value, [[0.5], [0.5]], rtol=1e-14)


@pytest.mark.parametrize("path", Path)
def test_a_mean_of_all_values_has_a_gradient_by_the_values_alone(path: Path) -> None:
    """A row that sees nothing and is answered with the mean adds its gradient to every valid value, and no other."""
    visibility = Visibility(mask=np.zeros(3, np.bool_), key_lengths=(2,), empty_row=EmptyRow.MEAN_VALUE)
    problem = Problem(query=np.ones((1, 1)), key=np.ones((3, 1)), value=np.ones((3, 1)), visibility=visibility)
    gradients = differentiate(replace(problem, path=path), np.full((1, 1), 4.0))
    np.testing.assert_array_equal(gradients.d_value, [[2.0], [2.0], [0.0]])
    np.testing.assert_array_equal(gradients.d_query, [[0.0]])
    np.testing.assert_array_equal(gradients.d_key, np.zeros((3, 1)))


@pytest.mark.parametrize("d_output", [np.ones((2, 3)), np.ones((3, 2, 1)), np.ones((3, 2), np.int64)])
def test_a_wrong_gradient_of_the_output_is_named(d_output: Array) -> None:
    """It has to be floating and shaped as the output."""
    with pytest.raises(InvalidProblemError) as refusal:
        differentiate(Problem(query=np.ones((3, 2))), d_output)
    assert [violation.field for violation in refusal.value.violations] == ["d_output"]
