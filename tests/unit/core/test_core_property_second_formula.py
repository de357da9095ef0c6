"""The core against a second evaluation of the contract that shares nothing with it but the question."""

from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qkv_server.core import (
    Alignment,
    Answer,
    InvalidProblemError,
    Path,
    Problem,
    Quantity,
    Visibility,
    attention,
    check,
)

from .agreement import assert_agrees, resolution
from .arrays import BFLOAT16, DTYPES, FLOAT16, FLOAT32, DType
from .problems import problems
from .second_formula import evaluate, visible_pairs
from .second_operands import operands_of
from .second_positions import place

OUTPUT_AND_QUANTITIES = ("output", *(quantity.value for quantity in Quantity))
AFTER_HIDING = ("output", "masked_scores", "weights", "log_sum_exp")


def assert_answers_agree(answer: Answer, problem: Problem, tolerance: float) -> None:
    expected = evaluate(problem)
    for name in OUTPUT_AND_QUANTITIES:
        assert_agrees(getattr(answer, name), expected[name], tolerance=tolerance)


@settings(max_examples=250, deadline=None)
@given(problem=problems())
def test_every_option_agrees_with_the_second_formula_in_float64(problem: Problem) -> None:
    """The output and every quantity of any valid problem are those of the contract, read one pair at a time."""
    assert_answers_agree(attention(problem), problem, tolerance=1e-12)


@settings(max_examples=80, deadline=None)
@given(problem=problems(dtypes=DTYPES))
def test_operands_of_mixed_types_agree_with_the_second_formula(problem: Problem) -> None:
    """Whatever the types of the operands, answers are right to the rounding of the type of the query."""
    answer = attention(problem)
    assert {getattr(answer, name).dtype for name in OUTPUT_AND_QUANTITIES if name != "log_sum_exp"} == {
        problem.query.dtype
    }
    assert_answers_agree(answer, problem, tolerance=3e-5)


@pytest.mark.parametrize("precision", [FLOAT32, FLOAT16, BFLOAT16], ids=lambda precision: precision.name)
def test_a_narrow_softmax_agrees_to_its_own_resolution(precision: DType) -> None:
    """A softmax in a narrower type than the operands changes answers by no more than that type's resolution."""

    @settings(max_examples=40, deadline=None)
    @given(problem=problems(softmax_precisions=(precision,)))
    def agrees(problem: Problem) -> None:
        answer = attention(problem)
        assert answer.log_sum_exp is not None
        assert answer.log_sum_exp.dtype == precision
        assert_answers_agree(answer, problem, tolerance=32 * resolution(precision))

    agrees()


@settings(max_examples=100, deadline=None)
@given(problem=problems())
def test_an_unset_alignment_is_accepted_exactly_when_it_does_not_matter(problem: Problem) -> None:
    """Without masks, unset is refused just when the alignments can be told apart, else it answers as both."""
    unmasked = replace(problem.visibility, mask=None, block_map=None, query_block_size=0, key_block_size=0)
    aligned = [
        replace(problem, visibility=replace(unmasked, alignment=alignment), path=Path.REFERENCE)
        for alignment in Alignment
    ]
    top_left, bottom_right = map(attention, aligned)
    unset = replace(problem, visibility=replace(unmasked, alignment=None), path=Path.REFERENCE)
    same = all(
        np.array_equal(getattr(top_left, name), getattr(bottom_right, name), equal_nan=True) for name in AFTER_HIDING
    )
    if not same or positions_matter(*aligned):
        with pytest.raises(InvalidProblemError) as refusal:
            attention(unset)
        assert [violation.field for violation in refusal.value.violations] == ["visibility.alignment"]
        return
    answer = attention(unset)
    for name in OUTPUT_AND_QUANTITIES:
        np.testing.assert_array_equal(getattr(answer, name), getattr(top_left, name))


def positions_matter(one: Problem, other: Problem) -> bool:
    """Whether answers go by the positions of queries, and some valid query stands elsewhere."""
    turned = one.rotary is not None and one.rotary.query_positions is None
    biased = one.scoring.alibi is not None or one.scoring.relative_bias is not None
    if not (turned or biased or one.visibility.chunk_size):
        return False
    lengths = operands_of(one).lengths
    batch, _, queries, _ = visible_pairs(one).shape
    places = ((place(one, lengths, b, i), place(other, lengths, b, i)) for b, i in np.ndindex(batch, queries))
    return any(not mine.is_padding and mine.position != others.position for mine, others in places)


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_an_alignment_is_needed_exactly_when_it_tells(data: st.DataObject) -> None:
    """At lengths at which few queries tell the alignments apart, unset is refused just when one of them does."""
    batch, queries, keys = (data.draw(st.integers(1, most)) for most in (2, 12, 12))
    bounds = st.none() | st.integers(0, 25)
    problem = Problem(
        query=np.ones((batch, queries, 1)),
        key=np.ones((batch, keys, 1)),
        visibility=Visibility(
            causal=data.draw(st.booleans()),
            window_left=data.draw(bounds),
            window_right=data.draw(bounds),
            chunk_size=data.draw(st.just(0) | st.integers(1, 13)),
            key_lengths=data.draw(st.just([]) | st.lists(st.integers(0, keys), min_size=batch, max_size=batch)),
            query_lengths=data.draw(st.just([]) | st.lists(st.integers(0, queries), min_size=batch, max_size=batch)),
        ),
    )
    aligned = [replace(problem, visibility=replace(problem.visibility, alignment=alignment)) for alignment in Alignment]
    top_left, bottom_right = map(visible_pairs, aligned)
    if np.array_equal(top_left, bottom_right) and not positions_matter(*aligned):
        check(problem)
    else:
        with pytest.raises(InvalidProblemError, match=r"^visibility\.alignment: needed"):
            check(problem)


@settings(max_examples=40, deadline=None)
@given(problem=problems())
def test_an_answer_carries_what_was_asked_for_and_nothing_else(problem: Problem) -> None:
    """Each quantity can be asked for alone, is the same as among all, and the others are not set."""
    everything = attention(problem)
    for quantity in Quantity:
        answer = attention(replace(problem, outputs=frozenset({quantity})))
        np.testing.assert_array_equal(getattr(answer, quantity.value), getattr(everything, quantity.value))
        given_names = {field.name for field in fields(answer) if getattr(answer, field.name) is not None}
        assert given_names == {"output", "path", quantity.value}


def test_the_second_formula_knows_the_answer_by_hand() -> None:
    """Two keys with equal scores share the weight, and log-sum-exp is the logarithm of 2."""
    problem = Problem(query=np.zeros((1, 1)), key=np.ones((2, 1)), value=np.array([[1.0], [3.0]]))
    assert float(evaluate(problem)["output"][0, 0]) == 2.0
    assert float(evaluate(problem)["log_sum_exp"][0]) == np.log(2.0)
