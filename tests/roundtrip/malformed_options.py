"""Malformed requests whose operands are each in order: what does not fit together, and options that are no options."""

from collections.abc import Iterator
from functools import reduce

import numpy as np
from google.protobuf.message import Message
from roundtrip.malformed import SHAPES, Malformed, Mutation, base, matrices, mutated, operand

from qkv import codec
from qkv.v1.attention_pb2 import AttentionRequest

NAN, INF = float("nan"), float("inf")

Shape = tuple[int, ...]


def option_table() -> Iterator[Malformed]:
    """Every option of the contract in the ways it can be wrong, alone or for the operands beside it."""
    yield from _enums()
    yield from _numbers()
    yield from _heads()
    yield from _rank_4()
    yield from _rank_2()
    yield from _caches_and_extras()
    yield from _masks()
    yield from _lengths()
    yield from _alignments()
    yield from _sizes()


def asked(query: Shape, key: Shape, value: Shape, *, dtype: str = "float64") -> AttentionRequest:
    """A request with three tensors of these shapes."""
    request = AttentionRequest()
    for path, shape in (("query", query), ("key", key), ("value", value)):
        set_operand(request, path, shape, dtype)
    return request


def set_operand(request: AttentionRequest, path: str, shape: Shape, dtype: str = "float64") -> None:
    """Put a tensor of that shape at a path."""
    operand(request, path).tensor.CopyFrom(codec.to_tensor(np.ones(shape, dtype)))


def rank_4(dtype: str = "float64") -> AttentionRequest:
    """A valid request of rank 4: B 2, L 3, S 4, Hq 4, Hkv 2, D 2, Dv 3."""
    return asked((2, 4, 3, 2), (2, 2, 4, 2), (2, 2, 4, 3), dtype=dtype)


def with_shape(path: str, *shape: int) -> Mutation:
    return lambda request: set_operand(request, path, shape)


def with_value(path: str, value: object) -> Mutation:
    """Set a field, or append to a repeated one."""

    def mutate(request: AttentionRequest) -> None:
        message, name = _owner(request, path)
        if isinstance(value, list):
            getattr(message, name).extend(value)
        else:
            setattr(message, name, value)

    return mutate


def with_message(path: str) -> Mutation:
    """Set a message, with nothing in it if it was not set."""

    def mutate(request: AttentionRequest) -> None:
        message, name = _owner(request, path)
        getattr(message, name).SetInParent()

    return mutate


def without(path: str) -> Mutation:
    def mutate(request: AttentionRequest) -> None:
        message, name = _owner(request, path)
        message.ClearField(name)

    return mutate


def _owner(request: AttentionRequest, path: str) -> tuple[Message, str]:
    """The message that has the field at a path, and the name of the field in it."""
    *parents, name = path.split(".")
    return reduce(getattr, parents, request), name


def both(*mutations: Mutation) -> Mutation:
    def mutate(request: AttentionRequest) -> None:
        for mutation in mutations:
            mutation(request)

    return mutate


def _enums() -> Iterator[Malformed]:
    for path in (
        "multi_head.axis_order",
        "visibility.mask_polarity",
        "visibility.alignment",
        "visibility.empty_row",
        "scoring.softmax_axis",
        "scoring.softmax_precision",
        "scoring.log_base",
        "path",
    ):
        for number in (99, -1):
            yield mutated(f"{path}-{number}", base(), with_value(path, number), path)
    for name, number in (("BOOL", 5), ("INT64", 6), ("UINT8", 9)):
        yield mutated(
            f"softmax_precision-{name}",
            base(),
            with_value("scoring.softmax_precision", number),
            "scoring.softmax_precision",
        )
    for numbers in ([0], [99], [-1], [4, 0], [1, 2, 3, 9], [98, 99]):
        yield mutated(f"outputs-{numbers}", base(), with_value("outputs", numbers), "outputs")
    for path, number in (("BATCHED", 2), ("TILED", 3), ("DECODE", 4)):
        over_queries = both(with_value("scoring.softmax_axis", 2), with_value("path", number))
        yield mutated(f"path-{path}-over-queries", base(), over_queries, "path")
    for row, number in (("NAN", 2), ("MEAN_VALUE", 3)):
        over_queries = both(with_value("scoring.softmax_axis", 2), with_value("visibility.empty_row", number))
        yield mutated(f"empty_row-{row} over queries", base(), over_queries, "visibility.empty_row")


def _numbers() -> Iterator[Malformed]:
    for version in (2, 999, 2**32 - 1):
        yield mutated(
            f"semantics_version-{version}", base(), with_value("semantics_version", version), "semantics_version"
        )
    for scale in (NAN, INF, -INF):
        yield mutated(f"scale-{scale}", base(), with_value("scoring.scale", scale), "scoring.scale")
    for softcap in (-1.0, -1e-300, NAN, INF, -INF):
        yield mutated(f"softcap-{softcap}", base(), with_value("scoring.softcap", softcap), "scoring.softcap")
    for dtype in ("float32", "float16"):
        for path, number in (("scoring.scale", -1e39), ("scoring.softcap", 1e39), ("scoring.softcap", 1e-60)):
            yield mutated(f"{path}-{number} in {dtype}", rank_4(dtype), with_value(path, number), path)
    for side in ("visibility.window_left", "visibility.window_right"):
        for width in (-1, -(2**63)):
            yield mutated(f"{side}-{width}", base(), with_value(side, width), side)


def _heads() -> Iterator[Malformed]:
    weights = tuple(f"multi_head.{name}_weight" for name in ("query", "key", "value"))

    def heads(count: int, kv_count: int) -> Mutation:
        return both(with_value("multi_head.heads", count), with_value("multi_head.kv_heads", kv_count))

    yield mutated("heads-indivisible groups", base(), heads(4, 3), "multi_head.kv_heads")
    yield mutated("heads-more key heads than query heads", base(), heads(2, 4), "multi_head.kv_heads")
    yield mutated("heads-2³²−1 key heads", base(), heads(4, 2**32 - 1), "multi_head.kv_heads")
    yield mutated("heads-key heads without heads", base(), heads(0, 2), "multi_head.heads")
    yield mutated("heads-indivisible projections", base(), heads(5, 5), *weights)
    yield mutated("heads-2³²−1", base(), heads(2**32 - 1, 0), *weights)
    yield mutated("heads-indivisible values", base(), heads(4, 4), "multi_head.value_weight")
    yield mutated("heads-head sizes differ", base(), heads(4, 1), "multi_head.key_weight")
    plain = ((2, 3, 8), (2, 4, 8), (2, 4, 8))
    yield mutated("heads-indivisible operands", asked(*plain), heads(3, 0), "query", "key", "value")
    yield mutated("heads-head sizes of operands differ", asked(*plain), heads(4, 2), "key")
    yield mutated("heads-last axis of key", asked(*plain), with_shape("key", 2, 4, 7), "key")
    yield mutated("heads-batch of query", asked(*plain), with_shape("query", 3, 3, 8), "key", "value")
    yield mutated("heads-batch of value", asked(*plain), with_shape("value", 1, 4, 8), "value")
    yield mutated("heads-value unset and key of another length", asked(*plain), without("key"), "value")
    yield mutated("query-unset", base(), without("query"), "query")
    yield mutated("everything-unset", AttentionRequest(), lambda _: None, "query")


def _rank_4() -> Iterator[Malformed]:
    for path in SHAPES:
        if path.startswith("multi_head.") and "extra" not in path:
            yield mutated(f"rank 4-{path}", rank_4(), with_shape(path, *SHAPES[path]), path)
    for path in ("multi_head.heads", "multi_head.kv_heads"):
        yield mutated(f"rank 4-{path} against the axis", rank_4(), with_value(path, 3), path)
    order = "multi_head.axis_order"
    yield mutated("rank 4-heads first read as sequence first", rank_4(), with_value(order, 2), "key")
    yield mutated("rank 4-no query heads", rank_4(), with_shape("query", 2, 0, 3, 2), "query")
    yield mutated("rank 4-no key heads", rank_4(), with_shape("key", 2, 0, 4, 2), "key")
    yield mutated("rank 4-key heads differ from value heads", rank_4(), with_shape("key", 2, 1, 4, 2), "value")
    three = both(with_shape("key", 2, 3, 4, 2), with_shape("value", 2, 3, 4, 3))
    yield mutated("rank 4-indivisible groups", rank_4(), three, "key")
    yield mutated("rank 4-batch of key", rank_4(), with_shape("key", 1, 2, 4, 2), "key")
    yield mutated("rank 4-head size of key", rank_4(), with_shape("key", 2, 2, 4, 3), "key")
    yield mutated("rank 4-length of value", rank_4(), with_shape("value", 2, 2, 3, 3), "value")
    nothing = both(with_shape("query", 2, 4, 3, 0), with_shape("key", 2, 2, 4, 0))
    yield mutated("rank 4-head size 0", rank_4(), nothing, "query")


def _rank_2() -> Iterator[Malformed]:
    plain = ((3, 4), (5, 4), (5, 2))
    yield mutated("rank 2-key of rank 3", asked(*plain), with_shape("key", 1, 5, 4), "key")
    yield mutated("rank 2-query of rank 1", asked(*plain), with_shape("query", 4), "query")
    yield mutated("rank 2-columns of key", asked(*plain), with_shape("key", 5, 3), "key")
    yield mutated("rank 2-rows of value", asked(*plain), with_shape("value", 4, 2), "value")
    yield mutated("rank 2-no columns", asked(*plain), without("key"), "value")
    caches = both(with_shape("past_key", 1, 1, 2, 4), with_shape("past_value", 1, 1, 2, 2))
    yield mutated("rank 2-caches of rank 4", asked(*plain), caches, "past_key", "past_value")
    yield mutated(
        "rank 2-caches without heads", matrices(), with_value("multi_head.heads", 1), "past_key", "past_value"
    )


def _caches_and_extras() -> Iterator[Malformed]:
    for given, needed in (("past_key", "past_value"), ("multi_head.extra_key", "multi_head.extra_value")):
        yield mutated(f"{needed}-missing", base(), without(needed), needed)
        yield mutated(f"{given}-missing", base(), without(given), given)
    yield mutated("past_value-longer than past_key", base(), with_shape("past_value", 2, 2, 3, 3), "past_value")
    heads = both(with_shape("past_key", 2, 4, 2, 2), with_shape("past_value", 2, 4, 2, 3))
    yield mutated("caches-of every query head", base(), heads, "past_key", "past_value")
    order = both(with_shape("past_key", 2, 5, 2, 2), with_shape("past_value", 2, 5, 2, 3))
    yield mutated("caches-sequence first", rank_4(), order, "past_key", "past_value")
    yield mutated(
        "caches-with key_lengths", base(), with_value("visibility.key_lengths", [4, 4]), "visibility.key_lengths"
    )
    extras = both(with_shape("multi_head.extra_key", 1, 4), with_shape("multi_head.extra_value", 1, 1, 5))
    yield mutated("extras-of other shapes", base(), extras, "multi_head.extra_key", "multi_head.extra_value")


def _masks() -> Iterator[Malformed]:
    for name, shape in (
        ("longer than the keys", (3, 7)),
        ("last axis 1", (3, 1)),
        ("rank 1 of 1", (1,)),
        ("a batch row in the place of heads", (2, 3, 6)),
        ("batch that does not broadcast", (3, 1, 1, 6)),
        ("heads that do not broadcast", (2, 2, 3, 6)),
        ("queries that do not broadcast", (1, 1, 2, 6)),
        ("transposed", (6, 3)),
    ):
        yield mutated(f"mask-{name}", base(), with_shape("visibility.mask", *shape), "visibility.mask")


def _lengths() -> Iterator[Malformed]:
    for path, most in (("visibility.key_lengths", 4), ("visibility.query_lengths", 3)):
        for name, lengths in (
            ("too few", [most]),
            ("too many", [most] * 3),
            ("beyond the end", [most, most + 1]),
            ("negative", [-1, most]),
            ("far beyond", [2**63 - 1, most]),
            ("far below", [most, -(2**63)]),
        ):
            yield mutated(f"{path}-{name}", rank_4(), with_value(path, lengths), path)


def _alignments() -> Iterator[Malformed]:
    square = ((1, 1, 4, 2),) * 3
    causal = with_value("visibility.causal", True)
    for name, request, mutate in (
        ("causal with fewer queries than keys", rank_4(), causal),
        ("left window", rank_4(), with_value("visibility.window_left", 1)),
        ("right window", rank_4(), with_value("visibility.window_right", 0)),
        ("causal with key_lengths", asked(*square), both(causal, with_value("visibility.key_lengths", [3]))),
        ("causal with query_lengths", asked(*square), both(causal, with_value("visibility.query_lengths", [3]))),
        ("causal with a cache", base(), causal),
    ):
        yield mutated(f"alignment-{name}", request, mutate, "visibility.alignment")


def _sizes() -> Iterator[Malformed]:
    def huge(request: AttentionRequest) -> None:
        request.query.tensor.shape[:] = [10**12, 4]
        request.query.tensor.data = bytes(40)

    def huge_matrix(request: AttentionRequest) -> None:
        request.query.matrix.rows, request.query.matrix.columns = 10**12, 4
        request.query.matrix.values[:] = [1.0] * 5

    yield mutated("query-10¹² rows in 40 bytes", asked((3, 4), (3, 4), (3, 4)), huge, "query.tensor.data")
    yield mutated("query-10¹² rows in five values", asked((3, 4), (3, 4), (3, 4)), huge_matrix, "query.matrix.values")
    yield mutated("query-no features", asked((3, 0), (3, 0), (3, 4)), lambda _: None, "query")
