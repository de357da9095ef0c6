"""What may not be seen is never read: NaN and infinity in hidden keys, values and queries cannot reach the answer."""

import itertools
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qkv_server.core import (
    Alignment,
    Answer,
    AxisOrder,
    EmptyRow,
    Gradients,
    MaskPolarity,
    Problem,
    Quantity,
    Scoring,
    SoftmaxAxis,
    Visibility,
    attention,
    differentiate,
)
from qkv_server.core.problem import Array

from .arrays import FLOAT32, FLOAT64, DType
from .paths import possible_paths
from .problems import problems
from .second_formula import visible_pairs

pytestmark = pytest.mark.usefixtures("small_tiles")

BATCH, HEADS, KV_HEADS, QUERIES, PAST, NEW_KEYS, HEAD_SIZE, VALUE_SIZE = 2, 4, 2, 3, 2, 5, 3, 2
KEYS = PAST + NEW_KEYS
OPERANDS = ("query", "key", "value", "past_key", "past_value")
GRADIENTS = ("d_query", "d_key", "d_value", "d_mask", "d_sinks")
WILD = (np.nan, np.inf, -np.inf)
AFTER_HIDING = (Quantity.WEIGHTS, Quantity.AVERAGED_WEIGHTS, Quantity.MASKED_SCORES, Quantity.LOG_SUM_EXP)


@dataclass(frozen=True)
class Hiding:
    """A way of hiding, and what it hides: the keys of each batch row that no query sees, and the padding queries."""

    visibility: Visibility
    hidden_keys: tuple[tuple[int, ...], ...]
    hidden_queries: tuple[tuple[int, ...], ...] = ((), ())
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
    "chunks": Hiding(Visibility(chunk_size=4, alignment=Alignment.BOTTOM_RIGHT), ((0, 1, 2, 3), (0, 1, 2, 3))),
    "segments": Hiding(
        Visibility(cumulative_query_lengths=(0, 2, 2, 3), cumulative_key_lengths=(0, 1, 4, 5)),
        ((1, 2, 3),),
        ((),),
        past=False,
    ),
    "blocks": Hiding(
        Visibility(
            block_map=np.array([[True, False, True], [True, False, False]]), query_block_size=2, key_block_size=3
        ),
        ((3, 4, 5), (3, 4, 5)),
    ),
    "blocks of each batch row": Hiding(
        Visibility(block_map=np.array([[[[True, False]]], [[[False, True]]]]), query_block_size=4),
        ((4, 5, 6), (0, 1, 2, 3)),
    ),
}


def a_problem(dtype: DType, *, past: bool, softmax_axis: SoftmaxAxis = SoftmaxAxis.KEYS, batch: int = BATCH) -> Problem:
    numbers = np.random.default_rng(20)

    def normal(*shape: int) -> Array:
        return numbers.standard_normal(shape).astype(dtype)

    return Problem(
        query=normal(batch, HEADS, QUERIES, HEAD_SIZE),
        key=normal(batch, KV_HEADS, NEW_KEYS, HEAD_SIZE),
        value=normal(batch, KV_HEADS, NEW_KEYS, VALUE_SIZE),
        past_key=normal(batch, KV_HEADS, PAST, HEAD_SIZE) if past else None,
        past_value=normal(batch, KV_HEADS, PAST, VALUE_SIZE) if past else None,
        scoring=Scoring(softmax_axis=softmax_axis),
        outputs=frozenset(AFTER_HIDING),
    )


def assert_same_gradients(actual: Gradients, expected: Gradients) -> None:
    for name in GRADIENTS:
        np.testing.assert_equal(getattr(actual, name), getattr(expected, name), strict=True)


def assert_same_answers(actual: Answer, expected: Answer) -> None:
    for name in ("output", *(quantity.value for quantity in AFTER_HIDING)):
        np.testing.assert_array_equal(getattr(actual, name), getattr(expected, name), strict=True)


def with_hidden(problem: Problem, hiding: Hiding, number: float) -> dict[str, Any]:
    """The operands, with a number in every key and value that no query sees, and in every query that is padding."""
    past = PAST if hiding.past else 0
    planted: dict[str, Any] = {name: array.copy() for name in OPERANDS if (array := getattr(problem, name)) is not None}
    for row, (keys, queries) in enumerate(zip(hiding.hidden_keys, hiding.hidden_queries, strict=True)):
        planted["query"][row][:, list(queries)] = number
        for name, position in itertools.product(("key", "value"), keys):
            if position < past:
                planted[f"past_{name}"][row][:, position] = number
            else:
                planted[name][row][:, position - past] = number
    return planted


def hiding_problem(hiding: Hiding, dtype: DType, softmax_axis: SoftmaxAxis = SoftmaxAxis.KEYS) -> Problem:
    problem = a_problem(dtype, past=hiding.past, softmax_axis=softmax_axis, batch=len(hiding.hidden_keys))
    return replace(problem, visibility=hiding.visibility)


@pytest.mark.parametrize("dtype", [FLOAT64, FLOAT32], ids=lambda dtype: dtype.name)
@pytest.mark.parametrize("softmax_axis", SoftmaxAxis)
@pytest.mark.parametrize("hiding", HIDING.values(), ids=HIDING.keys())
def test_hidden_keys_values_and_queries_are_never_read(hiding: Hiding, softmax_axis: SoftmaxAxis, dtype: DType) -> None:
    """NaN or infinity where no query looks changes nothing on any path, and would be noticed if it were seen."""
    problem = hiding_problem(hiding, dtype, softmax_axis)
    for path in possible_paths(problem):
        problem = replace(problem, path=path)
        clean = attention(problem)
        assert np.isfinite(clean.output).all()
        for number in WILD:
            planted = with_hidden(problem, hiding, number)
            assert_same_answers(attention(replace(problem, **planted)), clean)
            seen = attention(replace(problem, **planted, visibility=Visibility()))
            assert not np.isfinite(seen.output).all()


@pytest.mark.parametrize("softmax_axis", SoftmaxAxis)
@pytest.mark.parametrize("hiding", HIDING.values(), ids=HIDING.keys())
def test_gradients_never_read_what_is_hidden(hiding: Hiding, softmax_axis: SoftmaxAxis) -> None:
    """NaN or infinity where no query looks changes no gradient on any path, nor does the gradient of padding rows."""
    problem = hiding_problem(hiding, FLOAT64, softmax_axis)
    d_output = np.random.default_rng(21).standard_normal((len(hiding.hidden_keys), HEADS, QUERIES, VALUE_SIZE))
    for path in possible_paths(problem):
        problem = replace(problem, path=path)
        clean = differentiate(problem, d_output)
        for number in WILD:
            d_planted = d_output.copy()
            for row, queries in enumerate(hiding.hidden_queries):
                d_planted[row][:, list(queries)] = number
            planted = replace(problem, **with_hidden(problem, hiding, number))
            assert_same_gradients(differentiate(planted, d_planted), clean)


@settings(max_examples=100, deadline=None)
@given(problem=problems(), data=st.data())
def test_hidden_positions_of_any_problem_are_never_read(problem: Problem, data: st.DataObject) -> None:
    """In any problem, NaN in the positions that no head of no query may see changes nothing on any path."""
    problem = on_any_path(problem, data)
    planted = replace(problem, **with_hidden_nan(problem))
    assert_same_answers(attention(planted), attention(problem))


@settings(max_examples=60, deadline=None)
@given(problem=problems(), data=st.data())
def test_gradients_of_any_problem_never_read_hidden_positions(problem: Problem, data: st.DataObject) -> None:
    """In any problem, NaN in the positions that no head of no query may see changes no gradient on any path."""
    problem = on_any_path(problem, data)
    output = attention(problem).output
    d_output = np.random.default_rng(data.draw(st.integers(0, 99))).standard_normal(output.shape)
    planted = replace(problem, **with_hidden_nan(problem))
    assert_same_gradients(differentiate(planted, d_output), differentiate(problem, d_output))


def on_any_path(problem: Problem, data: st.DataObject) -> Problem:
    """The problem on a path that can answer it, without means of all values, which read hidden ones."""
    visibility = replace(problem.visibility, empty_row=EmptyRow.ZERO)
    return replace(problem, visibility=visibility, path=data.draw(st.sampled_from(possible_paths(problem))))


def with_hidden_nan(problem: Problem) -> dict[str, Any]:
    """The operands, with NaN in the positions that no head of no query may see."""
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
    return {
        name: with_nan(problem, name, positions)
        for name, positions in unseen.items()
        if getattr(problem, name) is not None
    }


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
