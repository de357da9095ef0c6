"""Types of answers, where they are rounded, and what stays finite; and how large an answer is."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings

from qkv_server.core import (
    Alignment,
    Answer,
    EmptyRow,
    MultiHead,
    Problem,
    Quantity,
    Scoring,
    SoftmaxAxis,
    Visibility,
    answer_bytes,
    attention,
    check,
    working_bytes,
)
from qkv_server.core.problem import Array

from .arrays import BFLOAT16, DTYPES, FLOAT16, FLOAT32, FLOAT64, DType
from .problems import problems

QUANTITIES = tuple(quantity.value for quantity in Quantity)
HALVES = (FLOAT16, BFLOAT16)
OPERANDS = ("query", "key", "value", "past_key", "past_value")
PARAMETERS = (
    *(f"{name}_{kind}" for name in ("query", "key", "value", "output") for kind in ("weight", "bias")),
    "extra_key",
    "extra_value",
)


def by_name(dtype: DType) -> str:
    return dtype.name


def in_type(problem: Problem, dtype: DType) -> Problem:
    """The problem with every operand and parameter in a type, and the mask as it was."""

    def typed(owner: Problem | MultiHead, names: tuple[str, ...]) -> dict[str, Array]:
        return {name: array.astype(dtype) for name in names if (array := getattr(owner, name)) is not None}

    multi_head = replace(problem.multi_head, **typed(problem.multi_head, PARAMETERS))  # type: ignore[arg-type]
    return replace(problem, multi_head=multi_head, **typed(problem, OPERANDS))  # type: ignore[arg-type]


def one_head(dtype: DType, *, keys: int = 3, visibility: Visibility | None = None) -> Problem:
    """Two queries over a few keys, asking for every quantity."""
    numbers = np.random.default_rng(5)
    query, key, value = (numbers.standard_normal((length, 4)).astype(dtype) for length in (2, keys, keys))
    return Problem(
        query=query, key=key, value=value, visibility=visibility or Visibility(), outputs=frozenset(Quantity)
    )


@pytest.mark.parametrize("dtype", DTYPES, ids=by_name)
def test_answers_have_the_type_of_the_query(dtype: DType) -> None:
    """The output and every quantity have the query's type; log-sum-exp has the softmax's, never of 16 bits."""
    answer = attention(one_head(dtype))
    assert answer.output.dtype == dtype
    for name in QUANTITIES:
        expected = dtype if name != "log_sum_exp" else FLOAT64 if dtype == FLOAT64 else FLOAT32
        assert getattr(answer, name).dtype == expected, name


@pytest.mark.parametrize("dtype", DTYPES, ids=by_name)
@pytest.mark.parametrize("precision", DTYPES, ids=by_name)
def test_log_sum_exp_has_the_type_of_the_softmax(precision: DType, dtype: DType) -> None:
    """Whatever the operands, a softmax precision that was asked for is the type of log-sum-exp, and of it alone."""
    problem = replace(one_head(dtype), scoring=Scoring(softmax_precision=precision))
    answer = attention(problem)
    assert answer.log_sum_exp is not None
    assert answer.weights is not None
    assert (answer.log_sum_exp.dtype, answer.weights.dtype) == (precision, dtype)


@pytest.mark.parametrize("half", HALVES, ids=by_name)
def test_half_precision_is_computed_wide_and_rounded_once(half: DType) -> None:
    """16-bit problems are answered with the very bits of the float32 answer, rounded; log-sum-exp is not rounded."""

    @settings(max_examples=100, deadline=None)
    @given(problem=problems(dtypes=(half,)))
    def is_rounded_once(problem: Problem) -> None:
        narrow, wide = attention(problem), attention(in_type(problem, FLOAT32))
        for name in ("output", *QUANTITIES):
            expected = getattr(wide, name)
            if name != "log_sum_exp":
                expected = expected.astype(half)
            assert getattr(narrow, name).dtype == expected.dtype
            np.testing.assert_array_equal(getattr(narrow, name).astype(float), expected.astype(float), strict=True)

    is_rounded_once()


def test_the_byte_order_of_a_type_changes_nothing() -> None:
    """Big-endian operands and softmax precision are answered with the numbers of the machine's own order."""
    native = replace(one_head(FLOAT32), scoring=Scoring(softmax_precision=FLOAT64))
    swapped = replace(in_type(native, np.dtype(">f4")), scoring=Scoring(softmax_precision=np.dtype(">f8")))
    for name in ("output", *QUANTITIES):
        np.testing.assert_array_equal(getattr(attention(swapped), name), getattr(attention(native), name))


@settings(max_examples=100, deadline=None)
@given(problem=problems(dtypes=(FLOAT32,)))
def test_float64_is_computed_in_float64(problem: Problem) -> None:
    """One float64 operand makes all arithmetic float64: the answer is that of the whole problem in float64."""
    mixed = replace(problem, query=problem.query.astype(np.float64))
    answer, wide = attention(mixed), attention(in_type(problem, FLOAT64))
    for name in ("output", *QUANTITIES):
        np.testing.assert_array_equal(getattr(answer, name), getattr(wide, name), strict=True)


@pytest.mark.parametrize("softmax_axis", SoftmaxAxis)
@pytest.mark.parametrize("dtype", DTYPES, ids=by_name)
def test_where_nothing_is_visible_log_sum_exp_is_minus_infinity(dtype: DType, softmax_axis: SoftmaxAxis) -> None:
    """The logarithm of an empty sum is −inf, in every type and along either axis, and weights and output are 0."""
    problem = one_head(dtype, visibility=Visibility(mask=np.zeros((2, 3), np.bool_)))
    answer = attention(replace(problem, scoring=Scoring(softmax_axis=softmax_axis)))
    assert answer.log_sum_exp is not None
    assert answer.log_sum_exp.shape == (2 if softmax_axis is SoftmaxAxis.KEYS else 3,)
    np.testing.assert_array_equal(answer.log_sum_exp.astype(float), -np.inf)
    np.testing.assert_array_equal(answer.weights, np.zeros((2, 3), dtype), strict=True)
    np.testing.assert_array_equal(answer.output, np.zeros((2, 4), dtype), strict=True)


@pytest.mark.parametrize(
    ("policy", "output", "weight"),
    [(EmptyRow.ZERO, 0, 0), (EmptyRow.NAN, np.nan, np.nan), (EmptyRow.MEAN_VALUE, 2, 0.5)],
)
def test_an_empty_row_is_answered_as_asked(policy: EmptyRow, output: float, weight: float) -> None:
    """A query that may see no key is answered with 0, with NaN, or with the mean of the valid values."""
    problem = Problem(
        query=np.ones((1, 2, 1)),
        key=np.ones((1, 3, 1)),
        value=np.array([[[1.0], [3.0], [100.0]]]),
        visibility=Visibility(mask=np.array([[False], [True]]) & np.ones(3, bool), key_lengths=(2,), empty_row=policy),
        outputs=frozenset({Quantity.WEIGHTS}),
    )
    answer = attention(problem)
    assert answer.weights is not None
    np.testing.assert_array_equal(answer.output, [[[output], [2]]])
    np.testing.assert_array_equal(answer.weights[0, 0, :, :2], [[weight, weight], [0.5, 0.5]])


@pytest.mark.parametrize(("policy", "output"), [(EmptyRow.ZERO, 0), (EmptyRow.NAN, np.nan)])
def test_a_query_without_any_keys_is_an_empty_row(policy: EmptyRow, output: float) -> None:
    """No keys at all are answered as the policy says, though there are no weights to say it."""
    problem = one_head(FLOAT64, keys=0, visibility=Visibility(empty_row=policy))
    np.testing.assert_array_equal(attention(problem).output, np.full((2, 4), output))


def test_the_mean_of_an_empty_row_reads_hidden_values_but_no_padding() -> None:
    """MEAN_VALUE is the mean of every value within the key lengths, so infinity there is seen, and beyond it is not."""
    hides_all = Visibility(mask=np.zeros(3, np.bool_), key_lengths=(2,), empty_row=EmptyRow.MEAN_VALUE)
    problem = one_head(FLOAT64, visibility=hides_all)
    value = np.array([[np.inf, 1.0], [2.0, 3.0], [np.nan, np.nan]])
    np.testing.assert_array_equal(attention(replace(problem, value=value)).output, [[np.inf, 2.0]] * 2)


@pytest.mark.parametrize("dtype", DTYPES, ids=by_name)
def test_a_row_of_the_smallest_finite_number_is_not_empty(dtype: DType) -> None:
    """A mask of finfo.min drowns every score, so the weights are equal, as in ONNX, and not 0."""
    smallest = np.finfo(np.float32 if dtype.itemsize < 8 else np.float64).min
    problem = one_head(dtype, visibility=Visibility(mask=np.full((2, 3), smallest)))
    answer = attention(problem)
    assert answer.weights is not None
    np.testing.assert_array_equal(answer.weights, np.full((2, 3), dtype.type(1 / 3)), strict=True)


def test_a_huge_negative_mask_stays_finite_in_float32() -> None:
    """−1e300 in a float64 mask is not −inf when the scores are float32: the row is not empty."""
    problem = one_head(FLOAT32, visibility=Visibility(mask=np.full((2, 3), -1e300)))
    answer = attention(problem)
    assert answer.masked_scores is not None
    assert np.isfinite(answer.masked_scores).all()
    np.testing.assert_array_equal(answer.weights, np.full((2, 3), np.float32(1 / 3)), strict=True)


@pytest.mark.parametrize("dtype", [FLOAT64, FLOAT32], ids=by_name)
def test_an_infinite_score_makes_a_nan_row(dtype: DType) -> None:
    """A score of +inf has no softmax: its query is answered with NaN, and the other as before."""
    problem = one_head(dtype)
    mask = np.zeros((2, 3))
    mask[0, 1] = np.inf
    answer, clean = attention(replace(problem, visibility=Visibility(mask=mask))), attention(problem)
    assert np.isnan(answer.output[0]).all()
    np.testing.assert_array_equal(answer.output[1], clean.output[1])


def test_a_negative_infinite_score_has_no_weight() -> None:
    """A visible key whose score is −inf is worth nothing, and a query with only such keys is answered with 0."""
    problem = one_head(FLOAT64)
    infinite = replace(problem, query=np.full((2, 4), -np.inf), key=np.ones((3, 4)))
    answer = attention(infinite)
    np.testing.assert_array_equal(answer.output, np.zeros((2, 4)))
    np.testing.assert_array_equal(answer.log_sum_exp, [-np.inf, -np.inf])


def nbytes(answer: Answer) -> int:
    arrays = (getattr(answer, name) for name in ("output", *QUANTITIES))
    return sum(array.nbytes for array in arrays if array is not None)


@settings(max_examples=150, deadline=None)
@given(problem=problems(dtypes=DTYPES, softmax_precisions=(None, *DTYPES), shortest=1))
def test_the_footprint_is_the_size_of_the_answer(problem: Problem) -> None:
    """The bytes foretold from the dimensions are those of the answer, whatever was asked, and the work needs more."""
    for outputs in (problem.outputs, *(frozenset({quantity}) for quantity in Quantity), frozenset[Quantity]()):
        asked = replace(problem, outputs=outputs)
        dimensions = check(asked)
        assert answer_bytes(asked, dimensions) == nbytes(attention(asked))
        assert working_bytes(asked, dimensions) > answer_bytes(asked, dimensions)


@settings(max_examples=100, deadline=None)
@given(problem=problems(dtypes=DTYPES))
def test_the_footprint_is_never_less_than_the_answer(problem: Problem) -> None:
    """An empty axis hides no other: what is foretold is at least what the answer takes, and never 0."""
    foretold = answer_bytes(problem, check(problem))
    assert foretold >= max(nbytes(attention(problem)), 1)


def test_large_windows_and_lengths_cost_nothing() -> None:
    """A window wider than any integer of the machine is the same as none."""
    problem = one_head(FLOAT64)
    wide = Visibility(window_left=2**80, window_right=2**80, alignment=Alignment.TOP_LEFT)
    np.testing.assert_array_equal(attention(replace(problem, visibility=wide)).output, attention(problem).output)
