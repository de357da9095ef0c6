"""What has no answer is refused, by the names of exactly the fields that are wrong."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from qkv_server.core import (
    Alibi,
    Alignment,
    AxisOrder,
    DynamicNtkScaling,
    EmptyRow,
    InvalidProblemError,
    LinearScaling,
    LongRopeScaling,
    MultiHead,
    Problem,
    RelativeBias,
    Rotary,
    Scoring,
    SoftmaxAxis,
    Violation,
    Visibility,
    attention,
)
from qkv_server.core.problem import Array

TOP_LEFT = Alignment.TOP_LEFT


def zeros(*shape: int, dtype: str = "float64") -> Array:
    return np.zeros(shape, dtype)


def flags(*shape: int) -> Array:
    return np.ones(shape, np.bool_)


def rank_2(**changes: Any) -> Problem:
    """3 queries over 5 keys, one head."""
    return replace(Problem(query=zeros(3, 4), key=zeros(5, 4), value=zeros(5, 6)), **changes)


def rank_3(*, multi_head: MultiHead | None = None, **changes: Any) -> Problem:
    """2 batch rows, 4 query heads of 2 over 2 key heads of 2, values of 3."""
    right = Problem(
        query=zeros(2, 3, 8),
        key=zeros(2, 5, 4),
        value=zeros(2, 5, 6),
        multi_head=multi_head or MultiHead(heads=4, kv_heads=2),
    )
    return replace(right, **changes)


def rank_4(**changes: Any) -> Problem:
    """2 batch rows, 4 query heads of 2 over 2 key heads of 2, values of 3."""
    right = Problem(query=zeros(2, 4, 3, 2), key=zeros(2, 2, 5, 2), value=zeros(2, 2, 5, 3))
    return replace(right, **changes)


def heads(**changes: Any) -> MultiHead:
    return replace(MultiHead(heads=4, kv_heads=2), **changes)


def seen(**parts: Any) -> Problem:
    return rank_4(visibility=Visibility(**parts))


def scored(**parts: Any) -> Problem:
    return rank_4(scoring=Scoring(**parts))


def biased(**parts: Any) -> Problem:
    return rank_4(scoring=Scoring(**parts), visibility=Visibility(alignment=TOP_LEFT))


def turned(**parts: Any) -> Problem:
    return rank_4(rotary=Rotary(**parts), visibility=Visibility(alignment=TOP_LEFT))


CACHE = {"past_key": zeros(2, 2, 4, 2), "past_value": zeros(2, 2, 4, 3)}

WRONG: dict[str, tuple[Problem, set[str]]] = {
    # ranks and types
    "query of rank 0": (Problem(query=np.array(1.0)), {"query"}),
    "query of rank 1": (Problem(query=zeros(4)), {"query"}),
    "query of rank 5": (Problem(query=zeros(1, 1, 1, 1, 4)), {"query"}),
    "key of another rank": (rank_3(key=zeros(5, 4)), {"key"}),
    "value of another rank": (rank_3(value=zeros(5, 6)), {"value"}),
    "key and value of another rank": (rank_4(key=zeros(5, 4), value=np.array(0.0)), {"key", "value"}),
    "integer query": (rank_2(query=zeros(3, 4, dtype="int64")), {"query"}),
    "boolean key": (rank_2(key=flags(5, 4)), {"key"}),
    "complex value": (rank_2(value=zeros(5, 6, dtype="complex128")), {"value"}),
    "longdouble query": (rank_2(query=zeros(3, 4, dtype="longdouble")), {"query"}),
    "text query": (rank_2(query=np.full((3, 4), "a")), {"query"}),
    "object query": (rank_2(query=np.full((3, 4), None)), {"query"}),
    "integer mask": (seen(mask=zeros(3, 5, dtype="int8")), {"visibility.mask"}),
    "integer cache": (rank_4(**CACHE | {"past_key": zeros(2, 2, 4, 2, dtype="int32")}), {"past_key"}),
    "integer weight": (
        rank_3(multi_head=heads(query_weight=zeros(8, 8, dtype="int32"))),
        {"multi_head.query_weight"},
    ),
    "integer softmax": (scored(softmax_precision=np.dtype(np.int32)), {"scoring.softmax_precision"}),
    # shapes of query, key and value
    "head size of key": (rank_2(key=zeros(5, 3)), {"key"}),
    "head size of key at rank 4": (rank_4(key=zeros(2, 2, 5, 3)), {"key"}),
    "number of values": (rank_2(value=zeros(4, 6)), {"value"}),
    "batch of key": (rank_3(key=zeros(1, 5, 4)), {"key"}),
    "batch of value": (rank_3(value=zeros(3, 5, 6)), {"value"}),
    "head size 0": (Problem(query=zeros(3, 0)), {"query"}),
    "head size 0 of a projection": (
        Problem(query=zeros(3, 4), multi_head=MultiHead(query_weight=zeros(0, 4), key_weight=zeros(0, 4))),
        {"multi_head.query_weight"},
    ),
    "0 query heads": (rank_4(query=zeros(2, 0, 3, 2)), {"query"}),
    "0 key heads": (rank_4(key=zeros(2, 0, 5, 2)), {"key"}),
    "heads of value": (rank_4(value=zeros(2, 1, 5, 3)), {"value"}),
    "3 key heads for 4": (rank_4(key=zeros(2, 3, 5, 2), value=zeros(2, 3, 5, 3)), {"key"}),
    "sequence first read as heads first": (
        rank_4(query=zeros(2, 3, 4, 2), key=zeros(2, 5, 2, 2), value=zeros(2, 5, 2, 3)),
        {"key"},
    ),
    "heads first read as sequence first": (rank_4(multi_head=MultiHead(axis_order=AxisOrder.SEQUENCE_FIRST)), {"key"}),
    # head counts
    "negative heads": (rank_3(multi_head=MultiHead(heads=-4)), {"multi_head.heads"}),
    "negative kv_heads": (rank_3(multi_head=MultiHead(heads=4, kv_heads=-2)), {"multi_head.kv_heads"}),
    "kv_heads alone": (rank_3(multi_head=MultiHead(kv_heads=2)), {"multi_head.heads"}),
    "kv_heads that do not divide": (rank_3(multi_head=MultiHead(heads=4, kv_heads=3)), {"multi_head.kv_heads"}),
    "more kv_heads than heads": (rank_3(multi_head=MultiHead(heads=2, kv_heads=4)), {"multi_head.kv_heads"}),
    "indivisible query": (rank_3(query=zeros(2, 3, 7)), {"query"}),
    "indivisible key": (rank_3(key=zeros(2, 5, 5)), {"key"}),
    "indivisible value": (rank_3(value=zeros(2, 5, 7)), {"value"}),
    "heads against the axis": (rank_4(multi_head=MultiHead(heads=3)), {"multi_head.heads"}),
    "kv_heads against the axis": (rank_4(multi_head=MultiHead(kv_heads=4)), {"multi_head.kv_heads"}),
    # projections
    **{
        f"{name} at rank 4": (
            rank_4(multi_head=heads(kv_heads=0, **{name: zeros(*shape)})),
            {f"multi_head.{name}"},
        )
        for kind, shape in (("weight", (8, 8)), ("bias", (8,)))
        for name in (f"{operand}_{kind}" for operand in ("query", "key", "value", "output"))
    },
    **{
        f"{name}_weight of rank {len(shape)}": (
            rank_3(multi_head=heads(**{f"{name}_weight": zeros(*shape)})),
            {f"multi_head.{name}_weight"},
        )
        for name in ("query", "key", "value", "output")
        for shape in ((), (8,), (1, 8, 8))
    },
    **{
        f"{name}_weight for other features": (
            rank_3(multi_head=heads(**{f"{name}_weight": zeros(out, 9)})),
            {f"multi_head.{name}_weight"},
        )
        for name, out in (("query", 8), ("key", 4), ("value", 6), ("output", 5))
    },
    "indivisible projection": (rank_3(multi_head=heads(query_weight=zeros(7, 8))), {"multi_head.query_weight"}),
    "projected head size of key": (rank_3(multi_head=heads(key_weight=zeros(6, 4))), {"multi_head.key_weight"}),
    **{
        f"{name}_bias of the wrong length": (
            rank_3(multi_head=heads(**{f"{name}_bias": zeros(5)})),
            {f"multi_head.{name}_bias"},
        )
        for name in ("query", "key", "value", "output")
    },
    "bias of rank 2": (rank_3(multi_head=heads(query_bias=zeros(1, 8))), {"multi_head.query_bias"}),
    "bias for the features before": (
        rank_3(multi_head=heads(output_weight=zeros(5, 12), output_bias=zeros(12))),
        {"multi_head.output_bias"},
    ),
    # extra key and value
    "extra key alone": (rank_3(multi_head=heads(extra_key=zeros(4))), {"multi_head.extra_value"}),
    "extra value alone": (rank_3(multi_head=heads(extra_value=zeros(6))), {"multi_head.extra_key"}),
    "extra key of the wrong length": (
        rank_3(multi_head=heads(extra_key=zeros(8), extra_value=zeros(6))),
        {"multi_head.extra_key"},
    ),
    "extra value of rank 2": (
        rank_3(multi_head=heads(extra_key=zeros(1, 1, 4), extra_value=zeros(1, 6))),
        {"multi_head.extra_value"},
    ),
    # cache
    "past key alone": (rank_4(past_key=CACHE["past_key"]), {"past_value"}),
    "past value alone": (rank_4(past_value=CACHE["past_value"]), {"past_key"}),
    "past key of the head size of values": (rank_4(**CACHE | {"past_key": zeros(2, 2, 4, 3)}), {"past_key"}),
    "past of all query heads": (
        rank_4(past_key=zeros(2, 4, 4, 2), past_value=zeros(2, 4, 4, 3)),
        {"past_key", "past_value"},
    ),
    "past value of another length": (rank_4(**CACHE | {"past_value": zeros(2, 2, 3, 3)}), {"past_value"}),
    "past of another batch": (
        rank_4(past_key=zeros(1, 2, 4, 2), past_value=zeros(1, 2, 4, 3)),
        {"past_key", "past_value"},
    ),
    "past with joined heads": (rank_3(past_key=zeros(2, 4, 4), past_value=zeros(2, 4, 6)), {"past_key", "past_value"}),
    "past of rank 3 at rank 2 without heads": (
        rank_2(past_key=zeros(1, 2, 4), past_value=zeros(1, 2, 6)),
        {"past_key", "past_value"},
    ),
    "past of rank 0": (rank_4(**CACHE | {"past_key": np.array(0.0)}), {"past_key"}),
    "key lengths with past": (rank_4(**CACHE, visibility=Visibility(key_lengths=(5, 5))), {"visibility.key_lengths"}),
    # visibility
    "mask of rank 0": (seen(mask=np.array(True)), {"visibility.mask"}),
    "mask of rank 5": (seen(mask=flags(1, 2, 4, 3, 5)), {"visibility.mask"}),
    "mask longer than the keys": (seen(mask=flags(3, 6)), {"visibility.mask"}),
    "mask of one key": (seen(mask=flags(3, 1)), {"visibility.mask"}),
    "mask of other queries": (seen(mask=flags(2, 5)), {"visibility.mask"}),
    "mask of the key heads": (seen(mask=flags(2, 2, 3, 5)), {"visibility.mask"}),
    "mask of other batch rows": (seen(mask=flags(3, 1, 3, 5)), {"visibility.mask"}),
    "mask per batch row of rank 3": (seen(mask=flags(2, 3, 5)), {"visibility.mask"}),
    "mask of more heads than 1": (rank_2(visibility=Visibility(mask=flags(2, 3, 5))), {"visibility.mask"}),
    "negative left window": (seen(window_left=-1, alignment=TOP_LEFT), {"visibility.window_left"}),
    "negative right window": (seen(window_right=-2, alignment=TOP_LEFT), {"visibility.window_right"}),
    "too few key lengths": (seen(key_lengths=(5,)), {"visibility.key_lengths"}),
    "too many query lengths": (seen(query_lengths=(3, 3, 3)), {"visibility.query_lengths"}),
    "negative key length": (seen(key_lengths=(0, -1)), {"visibility.key_lengths"}),
    "key length of more keys": (seen(key_lengths=(6, 5)), {"visibility.key_lengths"}),
    "huge key length": (seen(key_lengths=(2**80, 5)), {"visibility.key_lengths"}),
    "negative query length": (seen(query_lengths=(-3, 3)), {"visibility.query_lengths"}),
    "query length of more queries": (seen(query_lengths=(3, 4)), {"visibility.query_lengths"}),
    "causal without alignment": (seen(causal=True), {"visibility.alignment"}),
    "left window without alignment": (seen(window_left=1), {"visibility.alignment"}),
    "right window without alignment": (seen(window_right=0), {"visibility.alignment"}),
    "key lengths without alignment": (
        Problem(query=zeros(2, 5, 4), visibility=Visibility(causal=True, key_lengths=(5, 4))),
        {"visibility.alignment"},
    ),
    **{
        f"{policy.name} over queries": (
            rank_4(visibility=Visibility(empty_row=policy), scoring=Scoring(softmax_axis=SoftmaxAxis.QUERIES)),
            {"visibility.empty_row"},
        )
        for policy in (EmptyRow.NAN, EmptyRow.MEAN_VALUE)
    },
    # scoring
    "scale NaN": (scored(scale=np.nan), {"scoring.scale"}),
    "scale infinity": (scored(scale=-np.inf), {"scoring.scale"}),
    "scale beyond float32": (
        Problem(query=zeros(3, 4, dtype="float32"), scoring=Scoring(scale=1e39)),
        {"scoring.scale"},
    ),
    "softcap NaN": (scored(softcap=np.nan), {"scoring.softcap"}),
    "softcap infinity": (scored(softcap=np.inf), {"scoring.softcap"}),
    "negative softcap": (scored(softcap=-30.0), {"scoring.softcap"}),
    "softcap that is 0 in float32": (
        Problem(query=zeros(3, 4, dtype="float32"), scoring=Scoring(softcap=1e-60)),
        {"scoring.softcap"},
    ),
    "sinks of the key heads": (scored(sinks=zeros(2)), {"scoring.sinks"}),
    "sinks over queries": (scored(sinks=zeros(4), softmax_axis=SoftmaxAxis.QUERIES), {"scoring.sinks"}),
    "integer sinks": (scored(sinks=zeros(4, dtype="int64")), {"scoring.sinks"}),
    # biases by distance
    "slopes of the key heads": (biased(alibi=Alibi(slopes=zeros(2))), {"scoring.alibi.slopes"}),
    "slopes of other batch rows": (biased(alibi=Alibi(slopes=zeros(1, 4))), {"scoring.alibi.slopes"}),
    "table of the key heads": (biased(relative_bias=RelativeBias(table=zeros(8, 2))), {"scoring.relative_bias.table"}),
    "table of one bucket": (biased(relative_bias=RelativeBias(table=zeros(1, 4))), {"scoring.relative_bias.table"}),
    "odd table of two directions": (
        biased(relative_bias=RelativeBias(table=zeros(9, 4), bidirectional=True)),
        {"scoring.relative_bias.table"},
    ),
    "distances that all have buckets": (
        biased(relative_bias=RelativeBias(table=zeros(8, 4), max_distance=4)),
        {"scoring.relative_bias.max_distance"},
    ),
    # chunks, segments and blocks
    "negative chunk": (seen(chunk_size=-1, alignment=TOP_LEFT), {"visibility.chunk_size"}),
    "chunks without alignment": (seen(chunk_size=2), {"visibility.alignment"}),
    "segments of two batch rows": (
        seen(cumulative_query_lengths=(0, 3), cumulative_key_lengths=(0, 5)),
        {"visibility.cumulative_query_lengths"},
    ),
    "segments that fall": (
        rank_2(visibility=Visibility(cumulative_query_lengths=(0, 3, 2, 3), cumulative_key_lengths=(0, 1, 2, 5))),
        {"visibility.cumulative_query_lengths"},
    ),
    "segments that end early": (
        rank_2(visibility=Visibility(cumulative_query_lengths=(0, 3), cumulative_key_lengths=(0, 4))),
        {"visibility.cumulative_key_lengths"},
    ),
    "segments of queries alone": (
        rank_2(visibility=Visibility(cumulative_query_lengths=(0, 3))),
        {"visibility.cumulative_key_lengths"},
    ),
    "segments of keys alone": (
        rank_2(visibility=Visibility(cumulative_key_lengths=(0, 5))),
        {"visibility.cumulative_query_lengths"},
    ),
    "more segments of keys": (
        rank_2(visibility=Visibility(cumulative_query_lengths=(0, 3), cumulative_key_lengths=(0, 2, 5))),
        {"visibility.cumulative_key_lengths"},
    ),
    "block map without a size": (seen(block_map=flags(1, 1)), {"visibility.query_block_size"}),
    "block size without a map": (seen(query_block_size=2), {"visibility.block_map"}),
    "block map of one column too few": (seen(block_map=flags(2, 2), query_block_size=2), {"visibility.block_map"}),
    "block map of numbers": (seen(block_map=zeros(2, 3), query_block_size=2), {"visibility.block_map"}),
    # rotary
    "odd rotary size": (turned(rotary_size=1), {"rotary.rotary_size"}),
    "rotary size beyond the head": (turned(rotary_size=4), {"rotary.rotary_size"}),
    "negative base": (turned(base=-1.0), {"rotary.base"}),
    "positions of the keys for queries": (turned(query_positions=np.arange(5)), {"rotary.query_positions"}),
    "fractional positions": (turned(key_positions=zeros(5)), {"rotary.key_positions"}),
    "dynamic scaling of one pair": (
        turned(scaling=DynamicNtkScaling(factor=2.0, original_length=8)),
        {"rotary.rotary_size"},
    ),
    "a factor below 1": (turned(scaling=LinearScaling(factor=0.5)), {"rotary.linear.factor"}),
    "factors of too many pairs": (
        turned(scaling=LongRopeScaling(short_factors=(1.0, 1.0), long_factors=(1.0,), original_length=8)),
        {"rotary.longrope.short_factors"},
    ),
    "rotary without alignment": (rank_4(rotary=Rotary()), {"visibility.alignment"}),
    # several at once
    "many fields": (
        rank_4(
            value=zeros(2, 2, 5, 3, dtype="int64"),
            multi_head=MultiHead(query_weight=zeros(8, 8), extra_key=zeros(4)),
            visibility=Visibility(mask=flags(3, 1), window_left=-1, key_lengths=(7, 5), causal=True),
            scoring=Scoring(scale=np.inf, softcap=-1),
            past_value=CACHE["past_value"],
        ),
        {
            "value",
            "multi_head.query_weight",
            "multi_head.extra_value",
            "visibility.mask",
            "visibility.window_left",
            "visibility.key_lengths",
            "scoring.scale",
            "scoring.softcap",
            "past_key",
        },
    ),
}


def violations_of(problem: Problem) -> tuple[Violation, ...]:
    with pytest.raises(InvalidProblemError) as refusal:
        attention(problem)
    assert str(refusal.value) == "; ".join(map(str, refusal.value.violations))
    return refusal.value.violations


@pytest.mark.parametrize("right", [rank_2(), rank_3(), rank_4(), rank_4(**CACHE)])
def test_what_the_table_starts_from_is_right(right: Problem) -> None:
    """The problems that the wrong ones are made from have answers, so that each is wrong for the reason it names."""
    assert attention(right).output.shape[-1] in (3, 6, 12)


@pytest.mark.parametrize(("problem", "fields"), WRONG.values(), ids=WRONG.keys())
def test_a_wrong_problem_is_refused_by_the_names_of_its_wrong_fields(problem: Problem, fields: set[str]) -> None:
    """Every wrong field is named once, no right field is, and each is told what was expected."""
    violations = violations_of(problem)
    assert sorted(violation.field for violation in violations) == sorted(fields)
    assert all(violation.description for violation in violations)


def test_a_mask_per_batch_row_is_told_how_to_be_one() -> None:
    """The mask that most people send at rank 3, (B, L, S), is refused with the way to say it."""
    (violation,) = violations_of(seen(mask=flags(2, 3, 5)))
    assert "insert a heads axis of 1" in violation.description
    assert attention(seen(mask=flags(2, 3, 5)[:, None])).output.shape == (2, 4, 3, 3)


def test_an_ambiguous_alignment_is_told_both_readings() -> None:
    """The refusal names the two sizes that differ and the two readings."""
    (violation,) = violations_of(seen(causal=True))
    assert str(violation) == (
        "visibility.alignment: needed: 3 queries and 5 keys, so TOP_LEFT and BOTTOM_RIGHT give different answers"
    )


def test_a_wrong_last_axis_is_told_both_sizes() -> None:
    """The message is the one that the contract prints."""
    (violation,) = violations_of(Problem(query=zeros(3, 128), key=zeros(5, 64)))
    assert str(violation) == "key: last axis is 64, query has 128"
