"""Merging partial results, against attention over all the keys at once."""

import itertools
from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qkv_server.core import (
    AxisOrder,
    EmptyRow,
    InvalidProblemError,
    LogBase,
    MultiHead,
    PartialResult,
    Path,
    Problem,
    Quantity,
    Scoring,
    Visibility,
    attention,
    merge,
)
from qkv_server.core.problem import Array

from .agreement import assert_agrees, resolution
from .arrays import DTYPES, FLOAT64, DType, Numbers

pytestmark = pytest.mark.usefixtures("small_tiles")


@dataclass(frozen=True)
class Split:
    """A problem, and where its keys are split."""

    problem: Problem
    ends: tuple[int, ...]  # 0, …, S

    @property
    def order(self) -> AxisOrder:
        return self.problem.multi_head.axis_order

    def whole(self, dtype: DType | None = None) -> PartialResult:
        """Attention over all the keys, in a type (None: its own)."""
        problem = self.problem
        if dtype is not None:
            assert problem.key is not None
            assert problem.value is not None
            problem = replace(
                problem,
                query=problem.query.astype(dtype),
                key=problem.key.astype(dtype),
                value=problem.value.astype(dtype),
            )
        return answered(problem)

    def parts(self) -> list[PartialResult]:
        """Attention over the keys of each part; the first has the sinks."""
        problem, visibility, scoring = self.problem, self.problem.visibility, self.problem.scoring
        axis = -3 if problem.query.ndim == 4 and self.order is AxisOrder.SEQUENCE_FIRST else -2
        assert visibility.mask is not None
        results = []
        for number, (begin, end) in enumerate(itertools.pairwise(self.ends)):
            keys, values = (
                np.take(array, range(begin, end), axis) for array in (problem.key, problem.value) if array is not None
            )
            part = replace(
                problem,
                key=keys,
                value=values,
                visibility=replace(visibility, mask=visibility.mask[..., begin:end]),
                scoring=scoring if number == 0 else replace(scoring, sinks=None),
            )
            results.append(answered(part))
        return results


def answered(problem: Problem) -> PartialResult:
    answer = attention(problem)
    assert answer.log_sum_exp is not None
    return PartialResult(output=answer.output, log_sum_exp=answer.log_sum_exp)


@st.composite
def splits(draw: st.DrawFn, dtype: DType = FLOAT64) -> Split:
    """Any layout and path, with a mask that hides some keys of some rows, and parts that may be empty."""
    numbers = Numbers(draw, (dtype,))
    rank, order = draw(st.sampled_from((2, 3, 4))), draw(st.sampled_from(AxisOrder))
    batch = 1 if rank == 2 else draw(st.integers(1, 2))
    kv_heads, groups = draw(st.integers(1, 2)), draw(st.integers(1, 2))
    heads = kv_heads * groups
    queries, keys = draw(st.integers(1, 4)), draw(st.integers(0, 7))
    split = rank == 4 or draw(st.booleans())
    if not split:
        heads = kv_heads = 1

    def operand(of: int, length: int, size: int) -> Array:
        if rank == 4:
            axes = (of, length) if order is AxisOrder.HEADS_FIRST else (length, of)
            return numbers.normal(batch, *axes, size)
        return numbers.normal(*((batch,) if rank == 3 else ()), length, of * size)

    cuts = draw(st.lists(st.integers(0, keys), max_size=4))
    return Split(
        Problem(
            query=operand(heads, queries, 3),
            key=operand(kv_heads, keys, 3),
            value=operand(kv_heads, keys, 2),
            multi_head=MultiHead(
                heads=heads if split and rank < 4 else 0,
                kv_heads=kv_heads if split and rank < 4 else 0,
                axis_order=order,
            ),
            visibility=Visibility(
                mask=numbers.generator.random((batch, heads, queries, keys)) < draw(st.sampled_from((0.9, 0.3))),
                empty_row=draw(st.sampled_from((EmptyRow.ZERO, EmptyRow.NAN))),
            ),
            scoring=Scoring(
                scale=draw(st.sampled_from((None, 20.0))),
                log_base=draw(st.sampled_from(LogBase)),
                sinks=numbers.normal(heads) if draw(st.booleans()) else None,
            ),
            outputs=frozenset({Quantity.LOG_SUM_EXP}),
            path=draw(st.sampled_from(Path)),
        ),
        (0, *sorted(cuts), keys),
    )


def unseen_as_zero(result: PartialResult, order: AxisOrder) -> Array:
    """The output with its rows of log-sum-exp −inf, which attention answers by a policy, as merging answers them."""
    output, seen = result.output.copy(), ~np.isneginf(result.log_sum_exp)
    if output.ndim == 4:
        per_head = output if order is AxisOrder.HEADS_FIRST else output.swapaxes(1, 2)
    elif seen.ndim == 1:
        per_head = output
    else:
        per_head = output.reshape(*output.shape[:-1], seen.shape[-2], -1).swapaxes(-2, -3)
    per_head[~seen] = 0
    return output


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.name)
def test_merged_parts_are_the_attention_over_all_keys(dtype: DType) -> None:
    """However keys are split, output and log-sum-exp are those over all of them, to the rounding of the parts."""

    @settings(max_examples=60, deadline=None)
    @given(split=splits(dtype))
    def agrees(split: Split) -> None:
        merged, whole = merge(split.parts(), split.order, split.problem.scoring.log_base), split.whole()
        assert (merged.output.dtype, merged.log_sum_exp.dtype) == (dtype, whole.log_sum_exp.dtype)
        exact = split.whole(FLOAT64)
        tolerance = 4 * resolution(dtype) + (1e-12 if dtype == FLOAT64 else 1e-5)
        assert_agrees(merged.output, unseen_as_zero(exact, split.order), tolerance=tolerance)
        log_tolerance = 1e-12 if dtype == FLOAT64 else 3e-5
        assert_agrees(merged.log_sum_exp, exact.log_sum_exp, tolerance=log_tolerance)

    agrees()


@settings(max_examples=50, deadline=None)
@given(split=splits(), data=st.data())
def test_the_order_and_the_grouping_of_parts_do_not_matter(split: Split, data: st.DataObject) -> None:
    """Parts in another order, or merged in two steps, are the same to rounding."""
    parts, base = split.parts(), split.problem.scoring.log_base
    at_once = merge(parts, split.order, base)
    shuffled = data.draw(st.permutations(parts))
    first = data.draw(st.integers(1, len(parts)))
    in_steps = merge([merge(shuffled[:first], split.order, base), *shuffled[first:]], split.order, base)
    assert_agrees(in_steps.output, at_once.output, tolerance=1e-12)
    assert_agrees(in_steps.log_sum_exp, at_once.log_sum_exp, tolerance=1e-12)


@settings(max_examples=50, deadline=None)
@given(split=splits())
def test_one_part_is_itself(split: Split) -> None:
    """A part alone keeps every bit of the rows that it sees, and its log-sum-exp."""
    whole = split.whole()
    merged = merge([whole], split.order, split.problem.scoring.log_base)
    np.testing.assert_array_equal(merged.output, unseen_as_zero(whole, split.order), strict=True)
    np.testing.assert_allclose(merged.log_sum_exp, whole.log_sum_exp, rtol=1e-15)


def test_the_logarithms_may_be_far_apart() -> None:
    """A part whose log-sum-exp is hundreds below another has no weight beside it, and nothing overflows."""
    near, far = (
        PartialResult(output=np.array([[value]]), log_sum_exp=np.array([log]))
        for value, log in ((1.0, 800.0), (5.0, -800.0))
    )
    merged = merge([far, near])
    assert merged.output.item() == 1.0
    assert merged.log_sum_exp.item() == 800.0


def test_the_base_is_that_of_the_logarithms() -> None:
    """Parts of log-sum-exp 0 and 1 weigh 1 to e, or in base two 1 to 2."""
    parts = [PartialResult(output=np.array([[value]]), log_sum_exp=np.array([value])) for value in (0.0, 1.0)]
    assert merge(parts).output.item() == pytest.approx(np.e / (1 + np.e), rel=1e-15)
    assert merge(parts, log_base=LogBase.TWO).output.item() == pytest.approx(2 / 3, rel=1e-15)
    assert merge(parts, log_base=LogBase.TWO).log_sum_exp.item() == pytest.approx(np.log2(3), rel=1e-15)


@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_a_row_that_a_part_does_not_see_is_not_read_there(number: float) -> None:
    """NaN or infinity in a row of log-sum-exp −inf reaches no answer; elsewhere it does."""
    clean = PartialResult(output=np.array([[1.0], [2.0]]), log_sum_exp=np.array([0.5, 0.5]))
    wild = PartialResult(output=np.array([[number], [4.0]]), log_sum_exp=np.array([-np.inf, 0.5]))
    np.testing.assert_array_equal(merge([clean, wild]).output, [[1.0], [3.0]])
    assert not np.isfinite(merge([clean, replace(wild, log_sum_exp=np.zeros(2))]).output[0])


def part(output: tuple[int, ...], log_sum_exp: tuple[int, ...], dtypes: str = "dd") -> PartialResult:
    """Zeros of two shapes, of types by NumPy's letters."""
    return PartialResult(output=np.zeros(output, dtypes[0]), log_sum_exp=np.zeros(log_sum_exp, dtypes[1]))


OUTPUT, LOGS = "parts[0].output", "parts[0].log_sum_exp"
WRONG: dict[str, tuple[list[PartialResult], AxisOrder, set[str]]] = {
    "no parts": ([], AxisOrder.HEADS_FIRST, {"parts"}),
    "integer output": ([part((3, 2), (3,), "qd")], AxisOrder.HEADS_FIRST, {OUTPUT}),
    "boolean logarithms": ([part((3, 2), (3,), "d?")], AxisOrder.HEADS_FIRST, {LOGS}),
    "output of rank 1": ([part((3,), (3,))], AxisOrder.HEADS_FIRST, {OUTPUT}),
    "output of rank 5": ([part((1, 1, 1, 3, 2), (1, 1, 3))], AxisOrder.HEADS_FIRST, {OUTPUT}),
    "another output": ([part((3, 2), (3,)), part((3, 4), (3,))], AxisOrder.HEADS_FIRST, {"parts[1].output"}),
    "other logarithms": ([part((3, 2), (3,)), part((3, 2), (1, 3))], AxisOrder.HEADS_FIRST, {"parts[1].log_sum_exp"}),
    "both of a later part": (
        [part((3, 2), (3,)), part((3, 2), (3,)), part((4, 2), (4,))],
        AxisOrder.HEADS_FIRST,
        {"parts[2].output", "parts[2].log_sum_exp"},
    ),
    "too many rows": ([part((3, 2), (4,))], AxisOrder.HEADS_FIRST, {LOGS}),
    "heads that do not divide": ([part((3, 4), (3, 3))], AxisOrder.HEADS_FIRST, {LOGS}),
    "no heads": ([part((3, 4), (0, 3))], AxisOrder.HEADS_FIRST, {LOGS}),
    "another batch": ([part((2, 3, 4), (1, 2, 3))], AxisOrder.HEADS_FIRST, {LOGS}),
    "logarithms of rank 2 at rank 3": ([part((2, 3, 4), (2, 3))], AxisOrder.HEADS_FIRST, {LOGS}),
    "sequence first read as heads first": ([part((2, 3, 5, 4), (2, 5, 3))], AxisOrder.HEADS_FIRST, {LOGS}),
    "heads first read as sequence first": ([part((2, 5, 3, 4), (2, 5, 3))], AxisOrder.SEQUENCE_FIRST, {LOGS}),
}


@pytest.mark.parametrize(("parts", "order", "fields"), WRONG.values(), ids=WRONG.keys())
def test_wrong_parts_are_refused_by_their_names(parts: list[PartialResult], order: AxisOrder, fields: set[str]) -> None:
    """Every wrong field is named once, and no right one."""
    with pytest.raises(InvalidProblemError) as refusal:
        merge(parts, order)
    assert sorted(violation.field for violation in refusal.value.violations) == sorted(fields)


@pytest.mark.parametrize(
    ("output", "log_sum_exp", "order"),
    [
        ((3, 2), (3,), AxisOrder.HEADS_FIRST),
        ((3, 4), (2, 3), AxisOrder.HEADS_FIRST),
        ((2, 3, 4), (2, 2, 3), AxisOrder.SEQUENCE_FIRST),
        ((2, 5, 3, 4), (2, 5, 3), AxisOrder.HEADS_FIRST),
        ((2, 3, 5, 4), (2, 5, 3), AxisOrder.SEQUENCE_FIRST),
        ((0, 5, 3, 4), (0, 5, 3), AxisOrder.HEADS_FIRST),
        ((0, 2), (0,), AxisOrder.HEADS_FIRST),
    ],
)
def test_every_layout_is_answered_in_its_shape(
    output: tuple[int, ...], log_sum_exp: tuple[int, ...], order: AxisOrder
) -> None:
    """Outputs of every rank, batches and queries of none among them, are merged into their own shapes."""
    merged = merge([part(output, log_sum_exp)] * 2, order)
    assert (merged.output.shape, merged.log_sum_exp.shape) == (output, log_sum_exp)
    np.testing.assert_allclose(merged.log_sum_exp, np.log(2), rtol=1e-15)
