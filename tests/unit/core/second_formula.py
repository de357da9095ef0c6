"""Attention a second time, as unlike the core as can be: one pair at a time, in Python's floats, from the contract.

Every rule here is read from the comments of `protos/qkv/v1/attention.proto`; of the core only the question is used.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from qkv_server.core import Alignment, AxisOrder, EmptyRow, LogBase, MaskPolarity, Problem, SoftmaxAxis
from qkv_server.core.problem import Array

Vector = list[float]
Rows = list[list[list[Vector]]]  # [batch row][head][position]


@dataclass(frozen=True)
class _Operands:
    """Vectors after projection: keys and values with the cache before them and the extra ones after."""

    queries: Rows
    keys: Rows
    values: Rows
    heads: int
    kv_heads: int
    length: int  # L
    past: int  # P
    new_keys: int  # S
    extra_keys: int
    head_size: int
    value_size: int

    @property
    def given_keys(self) -> int:
        return self.past + self.new_keys


def evaluate(problem: Problem) -> dict[str, Array]:
    """The output and every quantity, in float64, by their names in the answer."""
    operands = _operands(problem)
    visible = _visible(problem, operands)
    batch, all_keys = len(operands.queries), operands.given_keys + operands.extra_keys
    pairs = (batch, operands.heads, operands.length, all_keys)
    scores, capped, masked, weights = (np.zeros(pairs) for _ in range(4))
    per_head = np.zeros((batch, operands.heads, operands.length, operands.value_size))
    over_keys = problem.scoring.softmax_axis is SoftmaxAxis.KEYS
    log_sum_exp = np.zeros((batch, operands.heads, operands.length if over_keys else all_keys))
    scale = problem.scoring.scale
    if scale is None:
        scale = 1 / math.sqrt(operands.head_size)
    softcap = problem.scoring.softcap
    for b, h, i, j in np.ndindex(pairs):
        key = operands.keys[b][h * operands.kv_heads // operands.heads][j]
        score = scale * _dot(operands.queries[b][h][i], key)
        scores[b, h, i, j] = score
        capped[b, h, i, j] = softcap * math.tanh(score / softcap) if softcap else score
        hidden = not visible[b, h, i, j]
        masked[b, h, i, j] = -math.inf if hidden else capped[b, h, i, j] + _bias(problem, (b, h, i, j))
    for b in range(batch):
        for h in range(operands.heads):
            if over_keys:
                for i in range(operands.length):
                    weights[b, h, i], log_sum_exp[b, h, i] = _softmax(masked[b, h, i].tolist())
                    if not visible[b, h, i].any() and i < _valid(problem.visibility.query_lengths, b, operands.length):
                        weights[b, h, i] = _empty_row(problem, operands, b)
            else:
                for j in range(all_keys):
                    weights[b, h, :, j], log_sum_exp[b, h, j] = _softmax(masked[b, h, :, j].tolist())
            values = operands.values[b][h * operands.kv_heads // operands.heads]
            for i in range(operands.length):
                for feature in range(operands.value_size):
                    column = [row[feature] for row in values]
                    per_head[b, h, i, feature] = _dot(weights[b, h, i].tolist(), column)
                if problem.visibility.empty_row is EmptyRow.NAN and not visible[b, h, i].any():
                    per_head[b, h, i] = 0 if _is_padding(problem, operands, b, i) else math.nan
    quantities = {
        "scores": scores,
        "capped_scores": capped,
        "masked_scores": masked,
        "weights": weights,
        "log_sum_exp": log_sum_exp / (math.log(2) if problem.scoring.log_base is LogBase.TWO else 1),
        "present_key": _without_extras(operands.keys, operands, operands.head_size),
        "present_value": _without_extras(operands.values, operands, operands.value_size),
    }
    averaged = weights.sum(axis=1) / operands.heads
    if problem.query.ndim == 2:
        quantities = {name: array[0] if problem.multi_head.heads else array[0, 0] for name, array in quantities.items()}
        averaged = averaged[0]
    return {"output": _output(problem, operands, per_head), "averaged_weights": averaged, **quantities}


def visible_pairs(problem: Problem) -> npt.NDArray[np.bool_]:
    """Which pairs are visible: (B, Hq, L, T and the extra keys)."""
    return _visible(problem, _operands(problem))


def _operands(problem: Problem) -> _Operands:
    heads = problem.multi_head
    key = problem.query if problem.key is None else problem.key
    value = key if problem.value is None else problem.value
    axis = {AxisOrder.HEADS_FIRST: 1, AxisOrder.SEQUENCE_FIRST: 2}[heads.axis_order]
    rank_4 = problem.query.ndim == 4
    count = problem.query.shape[axis] if rank_4 else heads.heads or 1
    kv_count = key.shape[axis] if rank_4 else heads.kv_heads or count
    new_keys = key.shape[3 - axis] if rank_4 else key.shape[-2]
    queries = _rows(problem.query, heads.query_weight, heads.query_bias, count, heads.axis_order)
    keys = _rows(key, heads.key_weight, heads.key_bias, kv_count, heads.axis_order)
    values = _rows(value, heads.value_weight, heads.value_bias, kv_count, heads.axis_order)
    sizes = [_head_size(key, heads.key_weight, kv_count), _head_size(value, heads.value_weight, kv_count)]
    extended = []
    for rows, past, extra, size in zip(
        (keys, values),
        (problem.past_key, problem.past_value),
        (heads.extra_key, heads.extra_value),
        sizes,
        strict=True,
    ):
        cached = (
            None if past is None else past.reshape(len(rows), kv_count, past.shape[-2], size).astype(float).tolist()
        )
        learned = None if extra is None else extra.astype(float).ravel().tolist()
        extended.append(
            [
                [
                    (cached[b][g] if cached is not None else [])
                    + head
                    + ([learned[g * size : (g + 1) * size]] if learned is not None else [])
                    + ([[0.0] * size] if heads.add_zero_attention else [])
                    for g, head in enumerate(row)
                ]
                for b, row in enumerate(rows)
            ]
        )
    return _Operands(
        queries=queries,
        keys=extended[0],
        values=extended[1],
        heads=count,
        kv_heads=kv_count,
        length=problem.query.shape[3 - axis] if rank_4 else problem.query.shape[-2],
        past=0 if problem.past_key is None else problem.past_key.shape[-2],
        new_keys=new_keys,
        extra_keys=(heads.extra_key is not None) + heads.add_zero_attention,
        head_size=sizes[0],
        value_size=sizes[1],
    )


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
    projected = [[_linear(vector, weight, bias) for vector in row.astype(float).tolist()] for row in batch]
    return [[[vector[h * size : (h + 1) * size] for vector in row] for h in range(heads)] for row in projected]


def _linear(x: Vector, weight: Array | None, bias: Array | None) -> Vector:
    """The linear map x·Wᵀ + b."""
    y = x if weight is None else [_dot(x, row) for row in weight.astype(float).tolist()]
    return y if bias is None else [a + float(b) for a, b in zip(y, bias, strict=True)]


def _visible(problem: Problem, operands: _Operands) -> npt.NDArray[np.bool_]:
    visibility = problem.visibility
    all_keys = operands.given_keys + operands.extra_keys
    visible = np.zeros((len(operands.queries), operands.heads, operands.length, all_keys), np.bool_)
    for b, h, i, j in np.ndindex(visible.shape):
        if _is_padding(problem, operands, b, i):
            continue
        valid_keys = operands.past + _valid(visibility.key_lengths, b, operands.new_keys)
        if visibility.alignment is Alignment.BOTTOM_RIGHT:
            from_the_end = _valid(visibility.query_lengths, b, operands.length) - 1 - i
            position = valid_keys - 1 - from_the_end
        else:
            position = operands.past + i
        left, right = visibility.window_left, visibility.window_right
        visible[b, h, i, j] = j >= operands.given_keys or (
            j < valid_keys
            and (not visibility.causal or j <= position)
            and (left is None or j >= position - left)
            and (right is None or j <= position + right)
            and _bias(problem, (b, h, i, j)) > -math.inf
        )
    return visible


def _bias(problem: Problem, pair: tuple[int, ...]) -> float:
    """What the mask adds to a pair: −inf hides."""
    mask = problem.visibility.mask
    given_keys = _operand_keys(problem)
    if mask is None or pair[-1] >= given_keys:
        return 0.0
    if pair[-1] >= mask.shape[-1]:
        return -math.inf
    place = tuple(0 if size == 1 else index for size, index in zip(mask.shape, pair[-mask.ndim :], strict=True))
    if mask.dtype == np.bool_:
        attends = bool(mask[place]) is (problem.visibility.mask_polarity is MaskPolarity.TRUE_ATTENDS)
        return 0.0 if attends else -math.inf
    return float(mask[place])


def _operand_keys(problem: Problem) -> int:
    """T, from the shapes alone."""
    key = problem.query if problem.key is None else problem.key
    heads_first = problem.multi_head.axis_order is AxisOrder.HEADS_FIRST
    axis = 2 if key.ndim == 4 and heads_first else 1 if key.ndim == 4 else -2
    keys: int = key.shape[axis] + (0 if problem.past_key is None else problem.past_key.shape[-2])
    return keys


def _is_padding(problem: Problem, operands: _Operands, b: int, i: int) -> bool:
    return i >= _valid(problem.visibility.query_lengths, b, operands.length)


def _valid(lengths: Sequence[int], b: int, everything: int) -> int:
    return lengths[b] if len(lengths) else everything


def _softmax(masked: Vector) -> tuple[Vector, float]:
    """The weights and the natural logarithm of the sum of exponentials; 0 and −inf where nothing is visible."""
    largest = max(masked, default=-math.inf)
    if largest == -math.inf:
        return [0.0] * len(masked), -math.inf
    exponentials = [math.exp(score - largest) for score in masked]
    total = math.fsum(exponentials)
    return [exponential / total for exponential in exponentials], largest + math.log(total)


def _empty_row(problem: Problem, operands: _Operands, b: int) -> Vector:
    """The weights of a query that may see no key."""
    all_keys = operands.given_keys + operands.extra_keys
    if problem.visibility.empty_row is EmptyRow.NAN:
        return [math.nan] * all_keys
    if problem.visibility.empty_row is EmptyRow.ZERO:
        return [0.0] * all_keys
    valid = operands.past + _valid(problem.visibility.key_lengths, b, operands.new_keys)
    return [1 / valid if j < valid else 0.0 for j in range(all_keys)]


def _dot(a: Vector, b: Vector) -> float:
    return math.fsum(x * y for x, y in zip(a, b, strict=True))


def _without_extras(rows: Rows, operands: _Operands, size: int) -> Array:
    """(B, Hkv, T, D)."""
    shape = (len(rows), operands.kv_heads, operands.given_keys, size)
    return np.array([[head[: operands.given_keys] for head in row] for row in rows], float).reshape(shape)


def _output(problem: Problem, operands: _Operands, per_head: Array) -> Array:
    """(B, Hq, L, Dv) in the layout of the query, projected; padding is answered with 0."""
    if problem.query.ndim == 4:
        return per_head if problem.multi_head.axis_order is AxisOrder.HEADS_FIRST else per_head.transpose(0, 2, 1, 3)
    weight, bias = problem.multi_head.output_weight, problem.multi_head.output_bias
    features = operands.heads * operands.value_size if weight is None else weight.shape[0]
    output = np.zeros((len(per_head), operands.length, features))
    for b, i in np.ndindex(output.shape[:2]):
        if not _is_padding(problem, operands, b, i):
            output[b, i] = _linear(per_head[b, :, i].ravel().tolist(), weight, bias)
    return output[0] if problem.query.ndim == 2 else output
