"""Malformed requests of what goes by positions: chunks, segments, block maps, biases by distance, rotary, and sinks."""

from collections.abc import Iterator

import numpy as np
from roundtrip.malformed import Malformed, Mutation, base, matrix_mutations, mutated, operand, tensor_mutations
from roundtrip.malformed_options import INF, NAN, asked, both, with_message, with_shape, with_value, without

from qkv import codec
from qkv.v1.attention_pb2 import ALIGNMENT_TOP_LEFT, SOFTMAX_AXIS_QUERIES, AttentionRequest

OPERANDS: dict[str, tuple[str, tuple[int, ...]]] = {  # of positional(): types and shapes
    "visibility.block_map": ("bool", (2, 1, 2, 2)),
    "scoring.sinks": ("float64", (4,)),
    "scoring.alibi.slopes": ("float64", (2, 4)),
    "scoring.relative_bias.table": ("float64", (8, 4)),
    "rotary.query_positions": ("int64", (3,)),
    "rotary.key_positions": ("int64", (2, 4)),
}
WRONG_TYPES = {"bool": ("float64", "int64"), "float64": ("int64", "bool"), "int64": ("float64", "bool")}
WRONG_SHAPES: dict[str, tuple[tuple[int, ...], ...]] = {
    "visibility.block_map": ((2,), (3, 2), (2, 1), (2, 2, 2), (4, 4, 2, 2), (1, 1, 1, 1)),
    "scoring.sinks": ((2,), (1,), (1, 4), (4, 1)),
    "scoring.alibi.slopes": ((2,), (1,), (1, 4), (4, 2), (2, 4, 1)),
    "scoring.relative_bias.table": ((8,), (4, 8), (8, 2), (8, 1), (1, 4), (0, 4), (1, 8, 4)),
    "rotary.query_positions": ((4,), (1, 3), (2, 4), (3, 1), (2, 1, 3)),
    "rotary.key_positions": ((3,), (1, 4), (2, 3), (4, 2), (2, 4, 1)),
}
SCALINGS: dict[str, dict[str, object]] = {  # valid, for eight features
    "linear": {"factor": 2.0},
    "dynamic_ntk": {"factor": 2.0, "original_length": 16},
    "yarn": {"factor": 2.0, "original_length": 16},
    "longrope": {"short_factors": [1.0] * 4, "long_factors": [2.0] * 4, "original_length": 16},
    "llama3": {"factor": 2.0, "low_frequency_factor": 1.0, "high_frequency_factor": 4.0, "original_length": 16},
}
CHUNK_SIZE, BLOCK_MAP = "visibility.chunk_size", "visibility.block_map"
CUMULATIVE_QUERIES, CUMULATIVE_KEYS = "visibility.cumulative_query_lengths", "visibility.cumulative_key_lengths"


def position_table() -> Iterator[Malformed]:
    """Every option that goes by positions in the ways it can be wrong."""
    yield from _operands()
    yield from _chunks_and_blocks()
    yield from _segments()
    yield from _biases()
    yield from _rotary()
    yield from _scalings()
    yield from _alignments()


def positional() -> AttentionRequest:
    """A valid request with every operand that goes by positions: B 2, L 3, S 4, Hq 4, Hkv 2, D 8, Dv 3."""
    request = asked((2, 4, 3, 8), (2, 2, 4, 8), (2, 2, 4, 3))
    for path, (dtype, shape) in OPERANDS.items():
        operand(request, path).tensor.CopyFrom(codec.to_tensor(np.ones(shape, dtype)))
    request.visibility.alignment = ALIGNMENT_TOP_LEFT
    request.visibility.chunk_size = 2
    request.visibility.query_block_size, request.visibility.key_block_size = 2, 3
    return request


def packed() -> AttentionRequest:
    """A valid request of three segments, the last of which has no key: B 1, L 3, S 4."""
    request = asked((1, 2, 3, 4), (1, 2, 4, 4), (1, 2, 4, 4))
    request.visibility.cumulative_query_lengths.extend((0, 1, 1, 3))
    request.visibility.cumulative_key_lengths.extend((0, 2, 4, 4))
    return request


def scaled(kind: str) -> AttentionRequest:
    """A valid request with rotary embedding of eight features, scaled."""
    request = positional()
    for name, value in SCALINGS[kind].items():
        with_value(f"rotary.{kind}.{name}", value)(request)
    return request


def with_lengths(path: str, *lengths: int) -> Mutation:
    """Put these entries in the place of those of a repeated field."""
    return both(without(path), with_value(path, list(lengths)))


def _operands() -> Iterator[Malformed]:
    for path, (dtype, shape) in OPERANDS.items():
        yield from tensor_mutations(path, shape, positional, dtype=dtype, wrong_types=WRONG_TYPES[dtype])
        yield from matrix_mutations(path, (4, 3), positional)
        for wrong in WRONG_SHAPES[path]:
            array = np.ones(wrong, dtype)
            yield mutated(f"{path}-of shape {wrong}", positional(), _with_array(path, array), path)
    float_map = _with_array(BLOCK_MAP, np.ones((2, 1, 2, 2), np.float16))
    yield mutated("block_map-float16", positional(), float_map, BLOCK_MAP)


def _with_array(path: str, array: "np.ndarray[tuple[int, ...], np.dtype[np.generic]]") -> Mutation:
    return lambda request: operand(request, path).tensor.CopyFrom(codec.to_tensor(array))


def _chunks_and_blocks() -> Iterator[Malformed]:
    for size in (-1, -(2**63)):
        yield mutated(f"chunk_size-{size}", positional(), with_value(CHUNK_SIZE, size), CHUNK_SIZE)
    for name, wrong in (("query_block_size", (0, -1, -(2**63))), ("key_block_size", (-1, -(2**63)))):
        path = f"visibility.{name}"
        for size in wrong:
            yield mutated(f"{name}-{size}", positional(), with_value(path, size), path)
        alone = with_value(path, 2)
        yield mutated(f"{name}-without a map", asked(*[(3, 4)] * 3), alone, BLOCK_MAP)
    for name, size in (("query_block_size", 1), ("query_block_size", 2**62), ("key_block_size", 1)):
        of_other_blocks = with_value(f"visibility.{name}", size)
        yield mutated(f"block_map-of other blocks, {name} {size}", positional(), of_other_blocks, BLOCK_MAP)
    of_the_queries = with_value("visibility.key_block_size", 0)
    yield mutated("block_map-for blocks of two keys", positional(), both(of_the_queries, _three_keys), BLOCK_MAP)


def _three_keys(request: AttentionRequest) -> None:
    """Make the keys so few that blocks as long as the queries' are no longer two."""
    for path, size in (("key", 8), ("value", 3)):
        with_shape(path, 2, 2, 2, size)(request)
    _with_array("rotary.key_positions", np.ones((2, 2), np.int64))(request)


def _segments() -> Iterator[Malformed]:
    for path, end in ((CUMULATIVE_QUERIES, 3), (CUMULATIVE_KEYS, 4)):
        for name, lengths in (
            ("begins late", (1, 2, 3, end)),
            ("begins early", (-1, 0, 1, end)),
            ("falls", (0, 2, 1, end)),
            ("ends early", (0, 1, 2, end - 1)),
            ("ends late", (0, 1, 2, end + 1)),
            ("ends far beyond", (0, 1, 2, 2**63 - 1)),
            ("falls far", (0, 2**63 - 1, -(2**63), end)),
        ):
            yield mutated(f"{path}-{name}", packed(), with_lengths(path, *lengths), path)
    for name, given in (("one entry", (0,)), ("the lengths themselves", (1, 0, 2))):
        of_both = both(with_lengths(CUMULATIVE_QUERIES, *given), with_lengths(CUMULATIVE_KEYS, *given))
        yield mutated(f"segments-{name}", packed(), of_both, CUMULATIVE_QUERIES, CUMULATIVE_KEYS)
    yield mutated("segments-fewer of the keys", packed(), with_lengths(CUMULATIVE_KEYS, 0, 2, 4), CUMULATIVE_KEYS)
    yield mutated("segments-more of the keys", packed(), with_lengths(CUMULATIVE_KEYS, 0, 1, 2, 3, 4), CUMULATIVE_KEYS)
    yield mutated("segments-keys unset and not as many as queries", packed(), without(CUMULATIVE_KEYS), CUMULATIVE_KEYS)
    yield mutated("segments-of the keys alone", packed(), without(CUMULATIVE_QUERIES), CUMULATIVE_QUERIES)
    for path, length in (("visibility.key_lengths", 4), ("visibility.query_lengths", 3)):
        yield mutated(f"segments-with {path}", packed(), with_value(path, [length]), CUMULATIVE_QUERIES)
    cache = both(with_shape("past_key", 1, 2, 2, 4), with_shape("past_value", 1, 2, 2, 4))
    yield mutated("segments-with a cache", packed(), cache, CUMULATIVE_QUERIES)
    in_two_rows = both(with_value(CUMULATIVE_QUERIES, [0, 3]), with_value(CUMULATIVE_KEYS, [0, 4]))
    yield mutated("segments-of two rows", asked((2, 3, 4), (2, 4, 4), (2, 4, 4)), in_two_rows, CUMULATIVE_QUERIES)


def _biases() -> Iterator[Malformed]:
    table, longest = "scoring.relative_bias.table", "scoring.relative_bias.max_distance"
    both_ways = with_value("scoring.relative_bias.bidirectional", True)
    yield mutated("relative_bias-without its table", positional(), without(table), table)
    for buckets in (2, 5):
        few = both(both_ways, with_shape(table, buckets, 4))
        yield mutated(f"relative_bias-bidirectional, {buckets} buckets", positional(), few, table)
    for distance in (-1, 1, 4):
        yield mutated(f"max_distance-{distance}", positional(), with_value(longest, distance), longest)
    yield mutated("max_distance-2, bidirectional", positional(), both(both_ways, with_value(longest, 2)), longest)
    over_queries = with_value("scoring.softmax_axis", SOFTMAX_AXIS_QUERIES)
    yield mutated("sinks-over queries", positional(), over_queries, "scoring.sinks")


def _rotary() -> Iterator[Malformed]:
    for name, wrong in (
        ("base", (-1.0, -1e-300, 0.5, 1.0, NAN, INF, -INF)),
        ("rotary_size", (-2, 3, 7, 10, 2**62)),
        ("sequence_length", (-1, -(2**63))),
        ("pairing", (99, -1)),
    ):
        for value in wrong:
            path = f"rotary.{name}"
            yield mutated(f"{path}-{value}", positional(), with_value(path, value), path)
    odd = asked((2, 3, 5), (2, 3, 5), (2, 3, 5))
    yield mutated("rotary-odd head size", odd, with_message("rotary"), "rotary.rotary_size")


def _scalings() -> Iterator[Malformed]:
    below_one, not_above_zero = (0.0, 0.5, -2.0, NAN, INF), (0.0, -1.0, NAN, INF)
    wrong: dict[str, dict[str, tuple[object, ...]]] = {
        "linear": {"factor": below_one[1:]},  # nothing said is 0
        "dynamic_ntk": {"factor": below_one, "original_length": (0, -1)},
        "yarn": {
            "factor": below_one,
            "original_length": (0, -1),
            "beta_fast": (-1.0, NAN, INF, 0.5),
            "beta_slow": (-1.0, NAN, INF),
            "attention_factor": not_above_zero,
        },
        "longrope": {
            "factor": (-1.0, NAN, INF),
            "original_length": (0, -1),
            "attention_factor": not_above_zero,
        },
        "llama3": {
            "factor": below_one,
            "low_frequency_factor": not_above_zero,
            "high_frequency_factor": (0.0, 0.5, 1.0, -1.0, NAN, INF),
            "original_length": (0, -1),
        },
    }
    for kind, numbers in wrong.items():
        for name, values in numbers.items():
            path = f"rotary.{kind}.{name}"
            for value in values:
                yield mutated(f"{path}-{value}", scaled(kind), with_value(path, value), path)
        everything = [f"rotary.{kind}.{name}" for name in SCALINGS[kind]]
        nothing = both(without(f"rotary.{kind}"), with_message(f"rotary.{kind}"))
        yield mutated(f"rotary.{kind}-nothing said", scaled(kind), nothing, *everything)
    slow = with_value("rotary.yarn.beta_slow", 33.0)
    yield mutated("rotary.yarn-slow above fast", scaled("yarn"), slow, "rotary.yarn.beta_fast")
    for name in ("short_factors", "long_factors"):
        path = f"rotary.longrope.{name}"
        for factors in ([], [1.0] * 3, [1.0] * 5, [1.0, 1.0, 1.0, 0.0], [-1.0] * 4, [1.0, NAN, 1.0, 1.0], [INF] * 4):
            replaced = both(without(path), with_value(path, factors))
            yield mutated(f"{path}-{factors}", scaled("longrope"), replaced, path)
    one = both(with_value("rotary.longrope.original_length", 1), with_value("rotary.longrope.factor", 2.0))
    yield mutated("rotary.longrope-logarithm of 1", scaled("longrope"), one, "rotary.longrope.original_length")
    pair = with_value("rotary.rotary_size", 2)
    yield mutated("rotary.dynamic_ntk-two features", scaled("dynamic_ntk"), pair, "rotary.rotary_size")


def _alignments() -> Iterator[Malformed]:
    for name, mutate in (
        ("chunks", with_value(CHUNK_SIZE, 2)),
        ("alibi", with_message("scoring.alibi")),
        ("relative bias", with_shape("scoring.relative_bias.table", 8, 1)),
        ("rotary", with_message("rotary")),
    ):
        start = asked((1, 1, 3, 4), (1, 1, 4, 4), (1, 1, 4, 4))
        yield mutated(f"alignment-{name}", start, mutate, "visibility.alignment")
    causal = with_value("visibility.causal", True)
    yield mutated("alignment-causal segments", packed(), causal, "visibility.alignment")
    yield mutated("alignment-alibi with a cache", base(), with_message("scoring.alibi"), "visibility.alignment")
