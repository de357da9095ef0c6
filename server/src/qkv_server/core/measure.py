"""Measures a problem: the sizes of query, key and value with their heads apart, and whether they fit together."""

from typing import NamedTuple

from qkv_server.core.dimensions import Dimensions
from qkv_server.core.precision import DType
from qkv_server.core.problem import Array, AxisOrder, MultiHead, Problem
from qkv_server.core.violations import Violations


class _PerHead(NamedTuple):
    """The sizes of one operand with its heads apart."""

    batch: int
    heads: int
    length: int
    size: int


def measure(problem: Problem, compute: DType, found: Violations) -> Dimensions | None:
    """The sizes of query, key and value, to be multiplied in a type, or None when they do not fit together."""
    query = problem.query
    key = problem.key if problem.key is not None else query
    value = problem.value if problem.value is not None else key
    multi_head = problem.multi_head
    if not found.require(query.ndim in (2, 3, 4), "query", f"rank is {query.ndim}, expected 2, 3 or 4"):
        return None
    for field, array in (("key", key), ("value", value)):
        found.require(array.ndim == query.ndim, field, f"rank is {array.ndim}, query has {query.ndim}")
    heads_known = _check_head_counts(multi_head, query.ndim, found)
    if key.ndim != query.ndim or value.ndim != query.ndim or not heads_known:
        return None
    heads, kv_heads = multi_head.heads or 1, multi_head.kv_heads or multi_head.heads or 1
    q = _split("query", query, heads, multi_head, found)
    k = _split("key", key, kv_heads, multi_head, found)
    v = _split("value", value, kv_heads, multi_head, found)
    if q is None or k is None or v is None or not _agree(q, k, v, problem, found):
        return None
    return Dimensions(
        rank=query.ndim,
        batch=q.batch,
        heads=q.heads,
        kv_heads=k.heads,
        queries=q.length,
        past=_past_length(problem),
        new_keys=k.length,
        extra_keys=(multi_head.extra_key is not None) + multi_head.add_zero_attention,
        head_size=q.size,
        value_size=v.size,
        out_features=_out_features(multi_head, q.heads * v.size),
        compute=compute,
        softmax=(problem.scoring.softmax_precision or compute).newbyteorder("="),
    )


def _check_head_counts(multi_head: MultiHead, rank: int, found: Violations) -> bool:
    heads, kv_heads = multi_head.heads, multi_head.kv_heads
    right = found.require(heads >= 0, "multi_head.heads", f"is {heads}, expected at least 0")
    right &= found.require(kv_heads >= 0, "multi_head.kv_heads", f"is {kv_heads}, expected at least 0")
    if not right or rank == 4:
        return right
    right &= found.require(
        not kv_heads or heads > 0, "multi_head.heads", f"needed: kv_heads is {kv_heads}, and the query has rank {rank}"
    )
    if right and kv_heads:
        right = _check_divides(heads, kv_heads, "multi_head.kv_heads", found)
    return right


def _check_divides(heads: int, kv_heads: int, field: str, found: Violations) -> bool:
    return found.require(
        heads % kv_heads == 0, field, f"{kv_heads} key heads cannot serve {heads} query heads, expected a divisor"
    )


def _split(name: str, array: Array, heads: int, multi_head: MultiHead, found: Violations) -> _PerHead | None:
    """The sizes of query, key or value after its projection, with its heads apart."""
    weight: Array | None = getattr(multi_head, f"{name}_weight")
    bias: Array | None = getattr(multi_head, f"{name}_bias")
    if array.ndim == 4:
        for kind, projection in (("weight", weight), ("bias", bias)):
            if projection is not None:
                found.add(
                    f"multi_head.{name}_{kind}", "a projection needs a query of rank 2 or 3, the query has rank 4"
                )
        if multi_head.axis_order is AxisOrder.HEADS_FIRST:
            batch, axis_heads, length, size = array.shape
        else:
            batch, length, axis_heads, size = array.shape
        given, field = _given_heads(name, multi_head)
        found.require(given in (0, axis_heads), field, f"is {given}, but {name} has {axis_heads} heads on its axis")
        if not found.require(axis_heads > 0, name, "has 0 heads, expected at least 1"):
            return None
        return _PerHead(batch, axis_heads, length, size)
    features, field = array.shape[-1], name
    if weight is not None:
        field = f"multi_head.{name}_weight"
        if not found.require(weight.ndim == 2, field, f"rank is {weight.ndim}, expected 2: (out, in)"):
            return None
        found.require(
            weight.shape[1] == features, field, f"shape is {weight.shape}, expected (out, {features}) for this {name}"
        )
        features = weight.shape[0]
    if bias is not None:
        found.require_shape(bias, (features,), f"multi_head.{name}_bias")
    if not found.require(
        features % heads == 0, field, f"{features} features do not divide into {heads} heads of equal size"
    ):
        return None
    batch = array.shape[0] if array.ndim == 3 else 1
    return _PerHead(batch, heads, array.shape[-2], features // heads)


def _given_heads(name: str, multi_head: MultiHead) -> tuple[int, str]:
    """The head count that was asked for an operand (0: none), and the field that asked."""
    if name == "query":
        return multi_head.heads, "multi_head.heads"
    return multi_head.kv_heads, "multi_head.kv_heads"


def _agree(q: _PerHead, k: _PerHead, v: _PerHead, problem: Problem, found: Violations) -> bool:
    """Whether query, key and value have the batch, heads, lengths and head sizes that attention needs."""
    fields = {name: _shaping_field(name, problem.multi_head) for name in ("query", "key", "value")}
    right = found.require(q.size > 0, fields["query"], "head size is 0, expected at least 1")
    right &= found.require(k.batch == q.batch, "key", f"batch is {k.batch}, query has {q.batch}")
    right &= found.require(v.batch == q.batch, "value", f"batch is {v.batch}, query has {q.batch}")
    if k.heads == q.heads == 1:
        mismatch = f"last axis is {k.size}, query has {q.size}"
    else:
        mismatch = f"head size is {k.size}, query has {q.size}"
    right &= found.require(k.size == q.size, fields["key"], mismatch)
    right &= found.require(v.length == k.length, "value", f"has {v.length} values for {k.length} keys")
    if problem.query.ndim == 4:
        right &= found.require(v.heads == k.heads, "value", f"has {v.heads} heads, key has {k.heads}")
        right &= _check_divides(q.heads, k.heads, "key", found)
    return right


def _shaping_field(name: str, multi_head: MultiHead) -> str:
    """The field that decides the features of an operand: its projection if it has one."""
    return name if getattr(multi_head, f"{name}_weight") is None else f"multi_head.{name}_weight"


def _out_features(multi_head: MultiHead, joined: int) -> int:
    """The last axis of the output of rank 2 or 3."""
    weight = multi_head.output_weight
    return weight.shape[0] if weight is not None and weight.ndim == 2 else joined


def _past_length(problem: Problem) -> int:
    """P, also where only one of the caches says it, so that what is wrong with the other is told once."""
    for past in (problem.past_key, problem.past_value):
        if past is not None and past.ndim >= 2:
            return int(past.shape[-2])
    return 0
