"""The vectors of an attention call a second time: projected, split into heads, turned, with the cache and the extras.

Every rule here is read from the comments of `protos/qkv/v1/attention.proto`; of the core only the question is used.
"""

import math
from dataclasses import dataclass

from qkv_server.core import AxisOrder, MultiHead, Problem
from qkv_server.core.problem import Array

from .second_positions import Lengths
from .second_rotary import Rows, Turn, Vector


@dataclass(frozen=True)
class Operands:
    """Vectors as they meet: keys and values with the cache before them and the extra ones after."""

    queries: Rows
    keys: Rows
    values: Rows
    heads: int
    kv_heads: int
    lengths: Lengths
    extra_keys: int
    head_size: int
    value_size: int

    @property
    def all_keys(self) -> int:
        return self.lengths.keys + self.extra_keys


def operands_of(problem: Problem) -> Operands:
    heads = problem.multi_head
    key = problem.query if problem.key is None else problem.key
    value = key if problem.value is None else problem.value
    axis = {AxisOrder.HEADS_FIRST: 1, AxisOrder.SEQUENCE_FIRST: 2}[heads.axis_order]
    rank_4 = problem.query.ndim == 4
    count = problem.query.shape[axis] if rank_4 else heads.heads or 1
    kv_count = key.shape[axis] if rank_4 else heads.kv_heads or count
    queries = _rows(problem.query, heads.query_weight, heads.query_bias, count, heads.axis_order)
    keys = _rows(key, heads.key_weight, heads.key_bias, kv_count, heads.axis_order)
    values = _rows(value, heads.value_weight, heads.value_bias, kv_count, heads.axis_order)
    lengths = Lengths(
        batch=len(queries),
        queries=problem.query.shape[3 - axis] if rank_4 else problem.query.shape[-2],
        past=0 if problem.past_key is None else problem.past_key.shape[-2],
        new_keys=key.shape[3 - axis] if rank_4 else key.shape[-2],
    )
    head_size = _head_size(key, heads.key_weight, kv_count)
    value_size = _head_size(value, heads.value_weight, kv_count)
    if problem.rotary is not None:
        turn = Turn(problem, problem.rotary, lengths, problem.rotary.rotary_size or head_size)
        queries, keys = turn.queries(queries), turn.new_keys(keys)
    return Operands(
        queries=queries,
        keys=_extended(keys, problem.past_key, heads.extra_key, heads, head_size),
        values=_extended(values, problem.past_value, heads.extra_value, heads, value_size),
        heads=count,
        kv_heads=kv_count,
        lengths=lengths,
        extra_keys=(heads.extra_key is not None) + heads.add_zero_attention,
        head_size=head_size,
        value_size=value_size,
    )


def linear(x: Vector, weight: Array | None, bias: Array | None) -> Vector:
    """The linear map x·Wᵀ + b."""
    y = x if weight is None else [dot(x, row) for row in weight.astype(float).tolist()]
    return y if bias is None else [a + float(b) for a, b in zip(y, bias, strict=True)]


def dot(a: Vector, b: Vector) -> float:
    return math.fsum(x * y for x, y in zip(a, b, strict=True))


def _extended(rows: Rows, past: Array | None, extra: Array | None, heads: MultiHead, size: int) -> Rows:
    """The vectors of each batch row and head between its cache and the learned and the zero one."""
    learned = None if extra is None else extra.astype(float).ravel().tolist()

    def cached(b: int, g: int) -> list[Vector]:
        if past is None:
            return []
        per_head = past.reshape(len(rows), len(rows[b]), past.shape[-2], size)
        vectors: list[Vector] = per_head[b, g].astype(float).tolist()
        return vectors

    def appended(g: int) -> list[Vector]:
        of_head = [] if learned is None else [learned[g * size : (g + 1) * size]]
        return of_head + [[0.0] * size] * heads.add_zero_attention

    return [[[*cached(b, g), *vectors, *appended(g)] for g, vectors in enumerate(row)] for b, row in enumerate(rows)]


def _head_size(x: Array, weight: Array | None, heads: int) -> int:
    if x.ndim == 4:
        size: int = x.shape[3]
        return size
    features: int = x.shape[-1] if weight is None else weight.shape[0]
    return features // heads


def _rows(x: Array, weight: Array | None, bias: Array | None, heads: int, order: AxisOrder) -> Rows:
    """The vectors of each batch row, head and position."""
    if x.ndim == 4:
        per_batch: Rows = x.astype(float).tolist()
        if order is AxisOrder.HEADS_FIRST:
            return per_batch
        return [[[position[h] for position in row] for h in range(heads)] for row in per_batch]
    size = _head_size(x, weight, heads)
    batch = [x] if x.ndim == 2 else list(x)
    projected = [[linear(vector, weight, bias) for vector in row.astype(float).tolist()] for row in batch]
    return [[[vector[h * size : (h + 1) * size] for vector in row] for h in range(heads)] for row in projected]
