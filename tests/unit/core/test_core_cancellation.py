"""The reference goes over its pairs in parts: it can be cancelled between any two, and they change no bit."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings

from qkv_server.core import (
    Answer,
    Cancellation,
    CancelledError,
    Gradients,
    Path,
    Problem,
    Quantity,
    Scoring,
    SoftmaxAxis,
    attention,
    check,
    differentiate,
    reference,
    solve,
    solve_gradients,
)
from qkv_server.core.problem import Array

from .arrays import FLOAT16, FLOAT32, FLOAT64, DType
from .problems import problems

ARRAYS = {Answer: ("output", *(quantity.value for quantity in Quantity)), Gradients: ("d_query", "d_key", "d_value")}
LONG = 2 * reference.PART_STEP + 5  # queries or keys that are cut in two


class CancelledAt(Cancellation):
    """Cancelled when it is looked at for a certain time, counted from 0; `polls` says how often it was."""

    def __init__(self, last: int | None = None) -> None:
        super().__init__()
        self.last, self.polls = last, 0

    def check(self) -> None:
        self.polls += 1
        if self.polls - 1 == self.last:
            self.cancel()
        super().check()


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts as small as they may be."""
    monkeypatch.setattr(reference, "PART_PAIRS", 1)


def normal(*shape: int, dtype: DType = FLOAT32) -> Array:
    return np.random.default_rng(shape).standard_normal(shape).astype(dtype)


def problem_of(axis: SoftmaxAxis, queries: int, keys: int, dtype: DType = FLOAT32) -> Problem:
    """Two query heads on each of two key and value heads."""
    query, key, value = normal(1, 4, queries, 8, dtype=dtype), normal(1, 2, keys, 8, dtype=dtype), normal(1, 2, keys, 4)
    return Problem(
        query=query,
        key=key,
        value=value.astype(dtype),
        scoring=Scoring(softmax_axis=axis),
        outputs=frozenset(Quantity),
        path=Path.REFERENCE,
    )


def answers(problem: Problem) -> Iterator[tuple[str, Array]]:
    """Every array of the answer and of the gradients, by its name."""
    answer = attention(problem)
    for result in (answer, differentiate(problem, normal(*answer.output.shape, dtype=answer.output.dtype))):
        for name in (*ARRAYS[type(result)], *(("d_mask", "d_sinks") if isinstance(result, Gradients) else ())):
            if (array := getattr(result, name)) is not None:
                yield name, array


def assert_parts_change_no_bit(problem: Problem) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reference, "PART_PAIRS", 2**40)
        whole = dict(answers(problem))
        patch.setattr(reference, "PART_PAIRS", 1)
        in_parts = dict(answers(problem))
    assert whole.keys() == in_parts.keys()
    for name, array in whole.items():
        assert in_parts[name].tobytes() == array.tobytes(), name


@pytest.mark.parametrize("dtype", [FLOAT32, FLOAT64], ids=str)
@pytest.mark.parametrize("axis", SoftmaxAxis)
@pytest.mark.parametrize(("queries", "keys"), [(LONG, 7), (7, LONG), (LONG, LONG + 20)])
def test_parts_of_long_axes_change_no_bit(axis: SoftmaxAxis, dtype: DType, queries: int, keys: int) -> None:
    """Cut by queries, by keys or not at all, answers and gradients have the same bytes."""
    assert_parts_change_no_bit(problem_of(axis, queries, keys, dtype))


@settings(max_examples=80, deadline=None)
@given(problem=problems(dtypes=(FLOAT64, FLOAT32, FLOAT16), softmax_precisions=(None, FLOAT32, FLOAT64)))
def test_parts_of_heads_and_rows_change_no_bit(problem: Problem) -> None:
    """With any options, a head of a batch row at a time or everything at once, the bytes are the same."""
    assert_parts_change_no_bit(replace(problem, path=Path.REFERENCE))


@pytest.mark.parametrize("axis", [reference.QUERIES, reference.KEYS])
@pytest.mark.parametrize("pairs", [1, 2000, 2**17])
@pytest.mark.parametrize("shape", [(1, 4, LONG, LONG), (3, 4, 500, 3), (700, 2, 3, 1), (1, 1, 1, 3000), (2, 2, 0, 3)])
def test_parts_hold_every_pair_once(shape: tuple[int, ...], pairs: int, axis: int) -> None:
    """Each pair is in one part, which is as small as it may be, and many small heads or batch rows share one."""
    batch, heads, queries, keys = shape
    problem = Problem(query=np.zeros((batch, heads, queries, 1)), key=np.zeros((batch, heads, keys, 1)))
    seen, sizes = np.zeros(shape, int), []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reference, "PART_PAIRS", pairs)
        for part in reference.parts(check(problem), axis, Cancellation()):
            seen[part] += 1
            sizes.append(seen[part].size)
    assert (seen == 1).all()
    other = keys if axis == reference.QUERIES else queries
    assert max(sizes) < 2 * max(pairs, reference.PART_STEP * other, 1)
    assert seen.size == 0 or all(one + another > pairs for one, another in pairwise(sizes))


Run = Callable[[Problem, Cancellation], object]


def answered(problem: Problem, cancellation: Cancellation) -> object:
    return solve(problem, check(problem), cancellation=cancellation)


def differentiated(problem: Problem, cancellation: Cancellation) -> object:
    d_output = normal(*problem.query.shape[:3], 4)
    return solve_gradients(problem, check(problem), d_output, cancellation=cancellation)


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize("axis", SoftmaxAxis)
@pytest.mark.parametrize(("run", "products"), [(answered, 2), (differentiated, 5)])
def test_it_stops_before_the_next_part(run: Run, products: int, axis: SoftmaxAxis) -> None:
    """Cancelled at any part of any step, nothing more is computed; every product of every head has parts of its own."""
    problem = problem_of(axis, LONG, LONG)
    run(problem, everything := CancelledAt())
    assert everything.polls >= products * 4 * 2  # heads, and pieces of each
    for last in range(everything.polls):
        with pytest.raises(CancelledError):
            run(problem, cancelled := CancelledAt(last))
        assert cancelled.polls == last + 1


@pytest.mark.parametrize("run", [answered, differentiated])
def test_it_stops_between_values_that_are_not_finite(run: Run) -> None:
    """They are added one key at a time, and the cancellation is looked at before each."""
    finite = problem_of(SoftmaxAxis.KEYS, 3, 5)
    wild = replace(finite, value=np.full((1, 2, 5, 4), np.nan, np.float32))
    polls = []
    for problem in (finite, wild):
        run(problem, cancellation := CancelledAt())
        polls.append(cancellation.polls)
    assert polls[1] == polls[0] + 5
