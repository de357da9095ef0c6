"""Checks everything that goes by positions: chunks, segments, block maps, biases by distance and rotary embedding."""

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from qkv_server.core.dimensions import Dimensions
from qkv_server.core.problem import Alibi, Array, Problem, RelativeBias, Rotary, Scoring, Visibility
from qkv_server.core.relative_bias import DEFAULT_MAX_DISTANCE, LARGEST_MAX_DISTANCE, MOST_BUCKETS
from qkv_server.core.rotary_scaling import (
    DynamicNtkScaling,
    LinearScaling,
    Llama3Scaling,
    LongRopeScaling,
    Scaling,
    YarnScaling,
)
from qkv_server.core.violations import Violations
from qkv_server.core.visibility import key_block_size

LARGEST_INTEGER = np.iinfo(np.int64).max
CUMULATIVE_QUERIES = "visibility.cumulative_query_lengths"
CUMULATIVE_KEYS = "visibility.cumulative_key_lengths"
SCALING_FIELDS: dict[type[Scaling], str] = {
    LinearScaling: "linear",
    DynamicNtkScaling: "dynamic_ntk",
    YarnScaling: "yarn",
    LongRopeScaling: "longrope",
    Llama3Scaling: "llama3",
}


def check_position_options(visibility: Visibility, scoring: Scoring, rotary: Rotary | None, found: Violations) -> None:
    """Check what is right or wrong whatever the shapes of query, key and value are."""
    found.require(
        visibility.chunk_size >= 0, "visibility.chunk_size", f"is {visibility.chunk_size}, expected at least 0"
    )
    found.require(
        len(visibility.cumulative_query_lengths) > 0 or not len(visibility.cumulative_key_lengths),
        CUMULATIVE_QUERIES,
        "needed: cumulative_key_lengths is given",
    )
    _check_block_sizes(visibility, found)
    if scoring.alibi is not None and scoring.alibi.slopes is not None:
        found.require_floating(scoring.alibi.slopes.dtype, "scoring.alibi.slopes")
    if scoring.relative_bias is not None:
        _check_relative_bias(scoring.relative_bias, found)
    if rotary is not None:
        _check_rotary(rotary, found)


def check_positions(problem: Problem, dimensions: Dimensions, found: Violations) -> None:
    """Check what has to fit the sizes of the problem."""
    visibility, scoring = problem.visibility, problem.scoring
    if len(visibility.cumulative_query_lengths):
        _check_segments(visibility, dimensions, found)
    if visibility.block_map is not None and visibility.query_block_size > 0 and visibility.key_block_size >= 0:
        _check_block_map(visibility, visibility.block_map, dimensions, found)
    if scoring.alibi is not None:
        _check_slopes(scoring.alibi, dimensions, found)
    if scoring.relative_bias is not None and scoring.relative_bias.table.ndim == 2:
        heads = scoring.relative_bias.table.shape[1]
        found.require(
            heads == dimensions.heads,
            "scoring.relative_bias.table",
            f"last axis is {heads}, expected {dimensions.heads}, one for each query head",
        )
    if problem.rotary is not None:
        _check_rotary_sizes(problem.rotary, dimensions, found)


def _check_block_sizes(visibility: Visibility, found: Violations) -> None:
    sizes = (("query_block_size", visibility.query_block_size), ("key_block_size", visibility.key_block_size))
    if visibility.block_map is None:
        for name, size in sizes:
            if size:
                found.add("visibility.block_map", f"needed: {name} is {size}")
        return
    found.require(
        visibility.block_map.dtype == np.bool_,
        "visibility.block_map",
        f"type is {visibility.block_map.dtype.name}, expected bool",
    )
    for (name, size), smallest in zip(sizes, (1, 0), strict=True):
        fits = smallest <= size <= LARGEST_INTEGER
        found.require(fits, f"visibility.{name}", f"is {size}, expected {smallest} to {LARGEST_INTEGER}")


def _check_block_map(visibility: Visibility, block_map: Array, dimensions: Dimensions, found: Violations) -> None:
    d, field = dimensions, "visibility.block_map"
    if not found.require(2 <= block_map.ndim <= 4, field, f"rank is {block_map.ndim}, expected 2 to 4"):
        return
    blocks = (-(-d.queries // visibility.query_block_size), -(-d.keys // key_block_size(visibility)))
    leading = zip(reversed(block_map.shape[:-2]), (d.heads, d.batch), strict=False)
    found.require(
        block_map.shape[-2:] == blocks and all(axis in (1, size) for axis, size in leading),
        field,
        f"shape is {block_map.shape}, expected to broadcast over batch and heads to {(d.batch, d.heads, *blocks)}",
    )


def _check_segments(visibility: Visibility, dimensions: Dimensions, found: Violations) -> None:
    queries, keys = visibility.cumulative_query_lengths, visibility.cumulative_key_lengths
    found.require(
        dimensions.batch == 1, CUMULATIVE_QUERIES, f"batch is {dimensions.batch}, expected 1: segments share one row"
    )
    for name, given in (
        ("past_key", dimensions.past),
        ("key_lengths", len(visibility.key_lengths)),
        ("query_lengths", len(visibility.query_lengths)),
    ):
        found.require(not given, CUMULATIVE_QUERIES, f"cannot be combined with {name}")
    _check_cumulative(queries, dimensions.queries, "queries", CUMULATIVE_QUERIES, found)
    if len(keys):
        found.require(
            len(keys) == len(queries),
            CUMULATIVE_KEYS,
            f"has {len(keys)} entries, expected {len(queries)}, as cumulative_query_lengths",
        )
        _check_cumulative(keys, dimensions.new_keys, "keys", CUMULATIVE_KEYS, found)
    else:
        found.require(
            dimensions.new_keys == dimensions.queries,
            CUMULATIVE_KEYS,
            f"needed: there are {dimensions.queries} queries and {dimensions.new_keys} keys",
        )


def _check_cumulative(lengths: Sequence[int], total: int, of: str, field: str, found: Violations) -> None:
    rises = all(one <= other for one, other in pairwise(lengths))
    found.require(
        len(lengths) > 1 and lengths[0] == 0 and lengths[-1] == total and rises,
        field,
        f"goes from {lengths[0]} to {lengths[-1]} in {len(lengths)} entries, expected to rise, or stay, from 0 to "
        f"{total}, the {of} given",
    )


def _check_slopes(alibi: Alibi, dimensions: Dimensions, found: Violations) -> None:
    expected = ((dimensions.heads,), (dimensions.batch, dimensions.heads))
    if alibi.slopes is not None:
        found.require(
            alibi.slopes.shape in expected,
            "scoring.alibi.slopes",
            f"shape is {alibi.slopes.shape}, expected {expected[0]} or {expected[1]}",
        )


def _check_relative_bias(bias: RelativeBias, found: Violations) -> None:
    field, table = "scoring.relative_bias.table", bias.table
    found.require_floating(table.dtype, field)
    if not found.require(table.ndim == 2, field, f"rank is {table.ndim}, expected 2: (buckets, heads)"):
        return
    buckets, smallest = len(table), 4 if bias.bidirectional else 2
    if not found.require(
        smallest <= buckets <= MOST_BUCKETS and not (bias.bidirectional and buckets % 2),
        field,
        f"has {buckets} buckets, expected {smallest} to {MOST_BUCKETS}{', even' if bias.bidirectional else ''}",
    ):
        return
    longest, single = bias.max_distance or DEFAULT_MAX_DISTANCE, buckets // smallest
    found.require(
        single < longest <= LARGEST_MAX_DISTANCE,
        "scoring.relative_bias.max_distance",
        f"is {longest}, expected above {single}, the distances with buckets of their own, to {LARGEST_MAX_DISTANCE}",
    )


def _check_rotary(rotary: Rotary, found: Violations) -> None:
    found.require(
        rotary.base == 0 or 1 < rotary.base < math.inf, "rotary.base", f"is {rotary.base}, expected a number above 1"
    )
    found.require(
        rotary.sequence_length >= 0, "rotary.sequence_length", f"is {rotary.sequence_length}, expected at least 0"
    )
    for name, positions in (("query_positions", rotary.query_positions), ("key_positions", rotary.key_positions)):
        if positions is not None:
            found.require(
                positions.dtype.kind in "iu", f"rotary.{name}", f"type is {positions.dtype.name}, expected integers"
            )
    if rotary.scaling is not None:
        _check_scaling(rotary.scaling, found)


def _check_scaling(scaling: Scaling, found: Violations) -> None:
    """Check each number of a scaling; its fields are those of the contract's message."""
    prefix = f"rotary.{SCALING_FIELDS[type(scaling)]}"

    def require(name: str, fits: bool, expected: str) -> None:
        found.require(fits, f"{prefix}.{name}", f"is {getattr(scaling, name)}, expected {expected}")

    if not isinstance(scaling, LongRopeScaling):
        require("factor", 1 <= scaling.factor < math.inf, "a number of at least 1")
    if not isinstance(scaling, LinearScaling):
        require("original_length", scaling.original_length >= 1, "at least 1")
    match scaling:
        case YarnScaling():
            for name in ("beta_fast", "beta_slow"):
                require(name, 0 <= getattr(scaling, name) < math.inf, "a number above 0, or 0 for the default")
            fast, slow = scaling.turns()
            if 0 < slow < math.inf:
                require("beta_fast", fast >= slow, f"at least beta_slow, which is {slow}")
        case LongRopeScaling():
            require("factor", 0 <= scaling.factor < math.inf, "a number above 0, or 0 for 1")
            if scaling.attention_factor is None and scaling.factor > 1:
                require("original_length", scaling.original_length >= 2, "at least 2, for the attention factor")
            for name in ("short_factors", "long_factors"):
                fits = all(0 < factor < math.inf for factor in getattr(scaling, name))
                found.require(fits, f"{prefix}.{name}", "has an entry that is no number above 0")
        case Llama3Scaling():
            low = scaling.low_frequency_factor
            require("low_frequency_factor", 0 < low < math.inf, "a number above 0")
            least = low if 0 < low < math.inf else 0
            high = scaling.high_frequency_factor
            require("high_frequency_factor", least < high < math.inf, f"a number above {least}")
    if isinstance(scaling, YarnScaling | LongRopeScaling) and scaling.attention_factor is not None:
        require("attention_factor", 0 < scaling.attention_factor < math.inf, "a number above 0")


def _check_rotary_sizes(rotary: Rotary, dimensions: Dimensions, found: Violations) -> None:
    size = rotary.rotary_size or dimensions.head_size
    field = "rotary.rotary_size"
    smallest = 4 if isinstance(rotary.scaling, DynamicNtkScaling) else 2
    if found.require(
        smallest <= size <= dimensions.head_size and size % 2 == 0,
        field,
        f"is {size}, expected an even number from {smallest} to the head size, {dimensions.head_size}",
    ) and isinstance(rotary.scaling, LongRopeScaling):
        for name in ("short_factors", "long_factors"):
            count = len(getattr(rotary.scaling, name))
            found.require(count == size // 2, f"rotary.longrope.{name}", f"has {count} entries, expected {size // 2}")
    for name, positions, length in (
        ("query_positions", rotary.query_positions, dimensions.queries),
        ("key_positions", rotary.key_positions, dimensions.new_keys),
    ):
        if positions is not None:
            shapes = ((length,), (dimensions.batch, length))
            found.require(
                positions.shape in shapes,
                f"rotary.{name}",
                f"shape is {positions.shape}, expected {shapes[0]} or {shapes[1]}",
            )
