"""What may not be seen is never read: NaN and infinity in hidden keys, values and queries cannot reach the answer."""

import itertools
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

from qkv_server.core import (
    Alignment,
    Answer,
    AxisOrder,
    EmptyRow,
    MaskPolarity,
    Problem,
    Quantity,
    Scoring,
    SoftmaxAxis,
    Visibility,
    attention,
)
from qkv_server.core.problem import Array

from .problems import FLOAT32, FLOAT64, DType, problems
from .second_formula import visible_pairs

BATCH, HEADS, KV_HEADS, QUERIES, PAST, NEW_KEYS, HEAD_SIZE, VALUE_SIZE = 2, 4, 2, 3, 2, 5, 3, 2
KEYS = PAST + NEW_KEYS
OPERANDS = ("query", "key", "value", "past_key", "past_value")
AFTER_HIDING = (Quantity.WEIGHTS, Quantity.AVERAGED_WEIGHTS, Quantity.MASKED_SCORES, Quantity.LOG_SUM_EXP)


@dataclass(frozen=True)
class Hiding:
    """A way of hiding, and what it hides: the keys of each batch row that no query sees, and the padding queries."""

    visibility: Visibility
    hidden_keys: tuple[tuple[int, ...], tuple[int, ...]]
    hidden_queries: tuple[tuple[int, ...], tuple[int, ...]] = ((), ())
    past: bool = field(default=True, kw_only=True)


ATTENDS = np.array([True, False, True, True, False, True, False])
FROM_ONE_QUERY = np.tile(ATTENDS, (QUERIES, 1)) & np.eye(QUERIES, KEYS, dtype=np.bool_)
HIDING = {
    "bool mask": Hiding(Visibility(mask=ATTENDS), ((1, 4, 6), (1, 4, 6))),
    "bool mask that leaves an empty row": Hiding(Visibility(mask=FROM_ONE_QUERY), ((1, 3, 4, 5, 6), (1, 3, 4, 5, 6))),
    "bool mask of torch": Hiding(
        Visibility(mask=~ATTENDS, mask_polarity=MaskPolarity.TRUE_HIDES), ((1, 4, 6), (1, 4, 6))
    ),
    "float mask": Hiding(Visibility(mask=np.where(ATTENDS, 0.5, -np.inf)), ((1, 4, 6), (1, 4, 6))),
    "mask of each batch row": Hiding(
        Visibility(mask=np.stack((ATTENDS, ~ATTENDS))[:, None, None]), ((1, 4, 6), (0, 2, 3, 5))
    ),
    "short mask": Hiding(Visibility(mask=np.ones(5, np.bool_)), ((5, 6), (5, 6))),
    "causal": Hiding(Visibility(causal=True, alignment=Alignment.TOP_LEFT), ((5, 6), (5, 6))),
    "window on the left, in the cache": Hiding(Visibility(window_left=1, alignment=Alignment.TOP_LEFT), ((0,), (0,))),
    "window on both sides": Hiding(
        Visibility(window_left=0, window_right=1, alignment=Alignment.BOTTOM_RIGHT), ((0, 1, 2, 3), (0, 1, 2, 3))
    ),
    "query lengths": Hiding(
        Visibility(query_lengths=(1, 3), causal=True, alignment=Alignment.TOP_LEFT),
        ((3, 4, 5, 6), (5, 6)),
        ((1, 2), ()),
    ),
    "no queries": Hiding(Visibility(query_lengths=(0, 2)), ((0, 1, 2, 3, 4, 5, 6), ()), ((0, 1, 2), (2,))),
    "key lengths": Hiding(Visibility(key_lengths=(2, 4)), ((2, 3, 4), (4,)), past=False),
    "key lengths, causal": Hiding(
        Visibility(key_lengths=(0, 4), causal=True, alignment=Alignment.TOP_LEFT),
        ((0, 1, 2, 3, 4), (3, 4)),
        past=False,
    ),
}


def a_problem(dtype: DType, *, past: bool, softmax_axis: SoftmaxAxis = SoftmaxAxis.KEYS) -> Problem:
    numbers = np.random.default_rng(20)

    def normal(*shape: int) -> Array:
        return numbers.standard_normal(shape).astype(dtype)

    return Problem(
        query=normal(BATCH, HEADS, QUERIES, HEAD_SIZE),
        key=normal(BATCH, KV_HEADS, NEW_KEYS, HEAD_SIZE),
        value=normal(BATCH, KV_HEADS, NEW_KEYS, VALUE_SIZE),
        past_key=normal(BATCH, KV_HEADS, PAST, HEAD_SIZE) if past else None,
        past_value=normal(BATCH, KV_HEADS, PAST, VALUE_SIZE) if past else None,
        scoring=Scoring(softmax_axis=softmax_axis),
        outputs=frozenset(AFTER_HIDING),
    )


def assert_same_answers(actual: Answer, expected: Answer) -> None:
    for name in ("output", *(quantity.value for quantity in AFTER_HIDING)):
        np.testing.assert_array_equal(getattr(actual, name), getattr(expected, name), strict=True)


@pytest.mark.parametrize("dtype", [FLOAT64, FLOAT32], ids=lambda dtype: dtype.name)
@pytest.mark.parametrize("softmax_axis", SoftmaxAxis)
@pytest.mark.parametrize("hiding", HIDING.values(), ids=HIDING.keys())
def test_hidden_keys_values_and_queries_are_never_read(hiding: Hiding, softmax_axis: SoftmaxAxis, dtype: DType) -> None:
    """NaN or infinity where no query looks changes nothing, and would be noticed if it were seen."""
    problem = replace(a_problem(dtype, past=hiding.past, softmax_axis=softmax_axis), visibility=hiding.visibility)
    clean = attention(problem)
    assert np.isfinite(clean.output).all()
    past = PAST if hiding.past else 0
    for number in (np.nan, np.inf, -np.inf):
        planted: dict[str, Any] = {
            name: array.copy() for name in OPERANDS if (array := getattr(problem, name)) is not None
        }
        for row, (keys, queries) in enumerate(zip(hiding.hidden_keys, hiding.hidden_queries, strict=True)):
            planted["query"][row][:, list(queries)] = number
            for name, position in itertools.product(("key", "value"), keys):
                if position < past:
                    planted[f"past_{name}"][row][:, position] = number
                else:
                    planted[name][row][:, position - past] = number
        assert_same_answers(attention(replace(problem, **planted)), clean)
        seen = attention(replace(problem, **planted, visibility=Visibility()))
        assert not np.isfinite(seen.output).all()


@settings(max_examples=200, deadline=None)
@given(problem=problems())
def test_hidden_positions_of_any_problem_are_never_read(problem: Problem) -> None:
    """In any problem, NaN in the positions that no head of no query may see changes nothing."""
    visibility = replace(problem.visibility, empty_row=EmptyRow.ZERO)  # the mean of all values reads hidden ones
    problem = replace(problem, visibility=visibility)
    visible = visible_pairs(problem)
    past = 0 if problem.past_key is None else problem.past_key.shape[-2]
    extras = problem.multi_head.add_zero_attention + (problem.multi_head.extra_key is not None)
    unseen_keys = ~np.asarray(visible.any(axis=(1, 2)))[:, : visible.shape[-1] - extras]
    unseen = {
        "past_key": unseen_keys[:, :past],
        "past_value": unseen_keys[:, :past],
        "key": unseen_keys[:, past:],
        "value": unseen_keys[:, past:],
    }
    if problem.key is not None:  # else the queries are keys too
        unseen["query"] = ~np.asarray(visible.any(axis=(1, 3)))
    planted: dict[str, Any] = {
        name: with_nan(problem, name, positions)
        for name, positions in unseen.items()
        if getattr(problem, name) is not None
    }
    assert_same_answers(attention(replace(problem, **planted)), attention(problem))


def with_nan(problem: Problem, name: str, positions: Array) -> Array:
    """An operand with NaN at the positions (B, length), in every head and feature."""
    planted: Array = getattr(problem, name).copy()
    rank_4 = problem.query.ndim == 4 and not name.startswith("past")
    length_axis = -3 if rank_4 and problem.multi_head.axis_order is AxisOrder.SEQUENCE_FIRST else -2
    for row, where in zip([planted] if problem.query.ndim == 2 else planted, positions, strict=True):
        np.moveaxis(row, length_axis, 0)[where] = np.nan
    return planted


@pytest.mark.parametrize("softmax_axis", SoftmaxAxis)
@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_a_seen_value_reaches_only_the_queries_that_see_it(number: float, softmax_axis: SoftmaxAxis) -> None:
    """A NaN value at key 3 reaches the causal queries from position 3 on, in its own feature, heads and batch row."""
    problem = a_problem(FLOAT64, past=True, softmax_axis=softmax_axis)
    problem = replace(problem, visibility=Visibility(causal=True, alignment=Alignment.TOP_LEFT))
    clean = attention(problem)
    assert problem.value is not None
    value = problem.value.copy()
    value[1, 0, 3 - PAST, 0] = number  # read by query heads 0 and 1
    answer = attention(replace(problem, value=value))
    reached = np.zeros(clean.output.shape, np.bool_)
    reached[1, :2, 1:, 0] = True  # queries 1 and 2 stand at positions 3 and 4
    np.testing.assert_array_equal(answer.output[reached], number)
    np.testing.assert_array_equal(answer.output[~reached], clean.output[~reached])
    np.testing.assert_array_equal(answer.weights, clean.weights, strict=True)


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
def test_a_seen_key_reaches_only_the_queries_that_see_it(number: float) -> None:
    """A NaN or infinite key changes no query that may not see it, though it stands in the same array."""
    problem = replace(a_problem(FLOAT64, past=True), visibility=Visibility(causal=True, alignment=Alignment.TOP_LEFT))
    clean = attention(problem)
    assert problem.key is not None
    key = problem.key.copy()
    key[1, 0, 3 - PAST] = number
    answer = attention(replace(problem, key=key))
    reached = np.zeros(clean.output.shape, np.bool_)
    reached[1, :2, 1:] = True
    assert (answer.output[reached] != clean.output[reached]).all()
    np.testing.assert_array_equal(answer.output[~reached], clean.output[~reached])


def test_over_queries_a_nan_key_reaches_only_its_own_column_of_weights() -> None:
    """With a softmax over queries a NaN key makes its weights NaN for the queries that see it, and no others."""
    problem = a_problem(FLOAT64, past=True, softmax_axis=SoftmaxAxis.QUERIES)
    problem = replace(problem, visibility=Visibility(causal=True, alignment=Alignment.TOP_LEFT))
    clean = attention(problem)
    assert problem.key is not None
    assert clean.weights is not None
    key = problem.key.copy()
    key[1, 0, 3 - PAST] = np.nan
    weights = attention(replace(problem, key=key)).weights
    assert weights is not None
    reached = np.zeros(clean.weights.shape, np.bool_)
    reached[1, :2, 1:, 3] = True
    assert np.isnan(weights[reached]).all()
    np.testing.assert_array_equal(weights[~reached], clean.weights[~reached])
