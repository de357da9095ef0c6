"""A few bytes that ask for more than the server admits: refused by size, before anything of that size is made."""

import time
import tracemalloc

import numpy as np
import pytest
from refusals import (
    Attend,
    assert_invalid,
    assert_still_answers,
    assert_too_large,
    refusal_of,
)
from roundtrip.malformed import Malformed, base, mutated, operand
from roundtrip.malformed_options import asked, both, with_message, with_shape, with_value, without

from qkv import codec
from qkv.v1.attention_pb2 import AttentionRequest
from qkv.wire import Received
from qkv_server.service.attend import attend as attend_in_process
from qkv_server.service.errors import ServiceError
from qkv_server.service.limits import Limits
from qkv_server.service.workers import Turn

HUGE = 10**12
CAUSAL = with_value("visibility.causal", True)


def projected(features: int, *, heads: int = 0, empty: str = "rows") -> AttentionRequest:
    """Three rows, or a matrix of 10¹² rows, without columns, that projections make `features` wide."""
    request = AttentionRequest()
    rows = HUGE if empty == "rows" else 3
    for name in ("query", "key", "value"):
        matrix = operand(request, name).matrix
        matrix.rows = rows if name == "query" or empty == "rows" else 3
        with_shape(f"multi_head.{name}_weight", features, 0)(request)
    request.multi_head.heads = heads
    return request


def column(length: int) -> AttentionRequest:
    """Honest arrays of one column, whose scores are length × length."""
    return asked((length, 1), (length, 1), (length, 1), dtype="float32")


def one_block(request: AttentionRequest) -> None:
    """A map of a single block."""
    operand(request, "visibility.block_map").tensor.CopyFrom(codec.to_tensor(np.ones((1, 1), np.bool_)))


def cache(*shape: int) -> "Malformed":
    start = asked((0, 3, 4), (0, 3, 4), (0, 3, 4))
    mutate = both(with_shape("past_key", *shape), with_shape("past_value", *shape))
    return mutated("a cache of 10¹² keys and no batch row", start, mutate)


TOO_LARGE = (
    mutated("values 10¹² wide, and no key", asked((3, 4), (0, 4), (0, HUGE)), lambda _: None),
    mutated("10¹² batch rows without queries", asked((HUGE, 0, 4), (HUGE, 0, 4), (HUGE, 0, 4)), lambda _: None),
    mutated("10¹² batch rows without queries or heads of their own", asked(*[(HUGE, 0, 4)] * 3), without("key")),
    mutated("10¹² queries and no batch row", asked((0, HUGE, 4), (0, 3, 4), (0, 3, 4)), lambda _: None),
    mutated("10¹² causal queries and no batch row", asked((0, HUGE, 4), (0, 3, 4), (0, 3, 4)), CAUSAL),
    mutated("10¹² keys and no batch row", asked((0, 3, 4), (0, HUGE, 4), (0, HUGE, 4)), lambda _: None),
    mutated("10¹² heads without queries", asked(*[(1, HUGE, 0, 4)] * 3), lambda _: None),
    mutated("2⁵⁹ columns without rows", asked(*[(0, 2**59)] * 3), lambda _: None),
    mutated("10¹² rows of a matrix without columns", projected(4), lambda _: None),
    mutated("10¹² causal rows of a matrix without columns", projected(4), CAUSAL),
    mutated("10¹² rows with a window", projected(4), with_value("visibility.window_left", 10**6)),
    mutated("10¹² rows with chunks", projected(4), with_value("visibility.chunk_size", 2)),
    mutated("10¹² rows in two segments", projected(4), with_value("visibility.cumulative_query_lengths", [0, 1, HUGE])),
    mutated("10¹² rows with biases", projected(4), with_message("scoring.alibi")),
    mutated("10¹² rows with learned biases", projected(4), with_shape("scoring.relative_bias.table", 8, 1)),
    mutated("10¹² rows with sinks", projected(4), with_shape("scoring.sinks", 1)),
    mutated("10¹² rows turned", projected(4), with_message("rotary")),
    mutated("10¹² rows turned in no batch row", asked(*[(0, HUGE, 4)] * 3), with_message("rotary")),
    mutated("three rows projected to 10¹² columns", projected(HUGE, empty="columns"), lambda _: None),
    mutated("2³²−1 heads", projected(2**32 - 1, heads=2**32 - 1, empty="columns"), lambda _: None),
    mutated(
        "an output of 10¹² columns", asked((3, 4), (3, 4), (3, 0)), with_shape("multi_head.output_weight", HUGE, 0)
    ),
    cache(0, 1, HUGE, 4),
    mutated("honest rows with more scores than memory", column(20_000), with_value("path", 1)),
    mutated("honest rows with more weights than a message holds", column(10_000), with_value("outputs", [4])),
)

INVALID = (
    mutated("10¹² rows without columns", asked((HUGE, 0), (HUGE, 0), (HUGE, 0)), lambda _: None, "query"),
    mutated(
        "10¹² causal rows against three keys",
        projected(4),
        both(CAUSAL, with_shape("key", 3, 0), with_shape("value", 3, 0)),
        "visibility.alignment",
    ),
    mutated(
        "10¹² rows with biases against three keys",
        projected(4),
        both(with_message("scoring.alibi"), with_shape("key", 3, 0), with_shape("value", 3, 0)),
        "visibility.alignment",
    ),
    mutated(
        "10⁶ segments that begin late",
        asked((3, 4), (3, 4), (3, 4)),
        with_value("visibility.cumulative_query_lengths", [1] * 10**6),
        "visibility.cumulative_query_lengths",
    ),
    mutated(
        "blocks of one for 10¹² rows",
        projected(4),
        both(with_value("visibility.query_block_size", 1), one_block),
        "visibility.block_map",
    ),
    mutated("heads without features", asked(*[(3, 0)] * 3), with_value("multi_head.heads", 2**32 - 1), "query"),
    mutated("10¹² keys for three values", asked((3, 4), (0, 4), (3, 4)), with_shape("key", 0, HUGE, 4), "key"),
    mutated("a mask of 10¹² empty rows", base(), with_shape("visibility.mask", HUGE, 0), "visibility.mask"),
    mutated("10⁶ outputs that there are not", base(), with_value("outputs", list(range(99, 10**6))), "outputs"),
    mutated(
        "10⁶ lengths for two rows",
        base(),
        with_value("visibility.query_lengths", [-1] * 10**6),
        "visibility.query_lengths",
    ),
)


@pytest.mark.parametrize("case", TOO_LARGE, ids=lambda case: case.name)
def test_what_asks_for_too_much_is_refused_for_its_size(case: Malformed, attend: Attend) -> None:
    """RESOURCE_EXHAUSTED with the bytes that would be needed and the limit; the next call works."""
    assert_too_large(refusal_of(lambda: attend(case.request)))
    assert_still_answers(attend)


@pytest.mark.parametrize("case", INVALID, ids=lambda case: case.name)
def test_what_is_large_and_wrong_is_refused_for_what_is_wrong(case: Malformed, attend: Attend) -> None:
    """INVALID_ARGUMENT naming the one field that breaks a rule, however large the rest is; the next call works."""
    refusal = refusal_of(lambda: attend(case.request))
    assert_invalid(refusal)
    assert refusal.fields == case.fields
    assert_still_answers(attend)


@pytest.mark.parametrize("case", [*TOO_LARGE, *INVALID], ids=lambda case: case.name)
def test_refusing_takes_no_more_than_the_request(case: Malformed) -> None:
    """A refusal takes memory of the order of the request, whatever it asks for."""
    tracemalloc.start()
    try:
        with pytest.raises(ServiceError):
            attend_in_process(Received(case.request), Limits(), time.monotonic()).answer(Turn())
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 100_000 + 40 * case.request.ByteSize()


def test_sizes_within_the_limits_are_answered(attend: Attend) -> None:
    """Empty axes of any kind are no error in themselves: no batch row, no query, no key, and no value are answered."""
    for shapes in (
        ((0, 3, 4), (0, 5, 4), (0, 5, 2)),
        ((2, 0, 4), (2, 5, 4), (2, 5, 2)),
        ((2, 3, 4), (2, 0, 4), (2, 0, 2)),
        ((2, 3, 4), (2, 5, 4), (2, 5, 0)),
        ((0, 4), (0, 4), (0, 2)),
    ):
        output = codec.from_operand(attend(asked(*shapes)).output, "output")
        np.testing.assert_array_equal(output, np.zeros((*shapes[0][:-1], shapes[2][-1])), strict=True)
