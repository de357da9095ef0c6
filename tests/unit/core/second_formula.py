"""Attention a second time, as unlike the core as can be: one pair at a time, in Python's floats, from the contract.

Every rule here is read from the comments of `protos/qkv/v1/attention.proto`; of the core only the question is used.
"""

import math

import numpy as np
import numpy.typing as npt

from qkv_server.core import AxisOrder, EmptyRow, LogBase, Problem, SoftmaxAxis
from qkv_server.core.problem import Array

from .second_biases import distance_bias, mask_bias
from .second_operands import Operands, dot, linear, operands_of
from .second_positions import place, valid_keys
from .second_rotary import Rows, Vector


def evaluate(problem: Problem) -> dict[str, Array]:
    """The output and every quantity, in float64, by their names in the answer."""
    operands = operands_of(problem)
    visible = _visible(problem, operands)
    scores, capped, masked = _scores(problem, operands, visible)
    weights, log_sum_exp = _weights(problem, operands, visible, masked)
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
    output = _output(problem, operands, _weighted_values(problem, operands, visible, weights))
    return {"output": output, "averaged_weights": averaged, **quantities}


def visible_pairs(problem: Problem) -> npt.NDArray[np.bool_]:
    """Which pairs are visible: (B, Hq, L, T and the extra keys)."""
    return _visible(problem, operands_of(problem))


def _visible(problem: Problem, operands: Operands) -> npt.NDArray[np.bool_]:
    visible = np.zeros((operands.lengths.batch, operands.heads, operands.lengths.queries, operands.all_keys), np.bool_)
    for b, h, i, j in np.ndindex(visible.shape):
        if not place(problem, operands.lengths, b, i).is_padding:
            visible[b, h, i, j] = j >= operands.lengths.keys or _sees(problem, operands, (b, h, i, j))
    return visible


def _sees(problem: Problem, operands: Operands, pair: tuple[int, int, int, int]) -> bool:
    """Whether a query that is no padding may see a given key."""
    visibility, (b, _, i, j) = problem.visibility, pair
    at = place(problem, operands.lengths, b, i)
    left, right, chunk = visibility.window_left, visibility.window_right, visibility.chunk_size
    return (
        j in at.keys
        and (not visibility.causal or at.distance(j) <= 0)
        and (left is None or at.distance(j) >= -left)
        and (right is None or at.distance(j) <= right)
        and (not chunk or (j - at.keys.start) // chunk == at.position // chunk)
        and _block_allows(problem, pair)
        and mask_bias(visibility, operands.lengths, pair) > -math.inf
    )


def _block_allows(problem: Problem, pair: tuple[int, int, int, int]) -> bool:
    """Whether the block map allows a pair of a query and a given key."""
    visibility, (b, h, i, j) = problem.visibility, pair
    if visibility.block_map is None:
        return True
    queries, keys = visibility.query_block_size, visibility.key_block_size or visibility.query_block_size
    leading = visibility.block_map.shape[:-2]
    row = tuple(0 if size == 1 else index for size, index in zip(leading, (b, h)[2 - len(leading) :], strict=True))
    return bool(visibility.block_map[(*row, i // queries, j // keys)])


def _scores(problem: Problem, operands: Operands, visible: npt.NDArray[np.bool_]) -> tuple[Array, Array, Array]:
    """The scores of every pair: scaled, capped, and with everything that is added or hidden."""
    scores, capped, masked = (np.zeros(visible.shape) for _ in range(3))
    scale, softcap = problem.scoring.scale, problem.scoring.softcap
    if scale is None:
        scale = 1 / math.sqrt(operands.head_size)
    for b, h, i, j in np.ndindex(visible.shape):
        key = operands.keys[b][h * operands.kv_heads // operands.heads][j]
        score = scale * dot(operands.queries[b][h][i], key)
        scores[b, h, i, j] = score
        capped[b, h, i, j] = softcap * math.tanh(score / softcap) if softcap else score
        masked[b, h, i, j] = -math.inf
        if visible[b, h, i, j]:
            masked[b, h, i, j] = capped[b, h, i, j] + _added(problem, operands, (b, h, i, j))
    return scores, capped, masked


def _added(problem: Problem, operands: Operands, pair: tuple[int, int, int, int]) -> float:
    """What is added to the capped score of a visible pair; nothing to that of an extra key."""
    b, _, i, j = pair
    if j >= operands.lengths.keys:
        return 0.0
    at = place(problem, operands.lengths, b, i)
    by_distance = distance_bias(problem, at, operands.heads, pair)
    return by_distance + mask_bias(problem.visibility, operands.lengths, pair)


def _weights(
    problem: Problem, operands: Operands, visible: npt.NDArray[np.bool_], masked: Array
) -> tuple[Array, Array]:
    """The weights, and the natural log-sum-exp along the axis of the softmax."""
    batch, heads, queries, all_keys = visible.shape
    weights = np.zeros(visible.shape)
    if problem.scoring.softmax_axis is SoftmaxAxis.QUERIES:
        log_sum_exp = np.zeros((batch, heads, all_keys))
        for b, h, j in np.ndindex(log_sum_exp.shape):
            weights[b, h, :, j], log_sum_exp[b, h, j] = _softmax(masked[b, h, :, j].tolist(), -math.inf)
        return weights, log_sum_exp
    log_sum_exp = np.full((batch, heads, queries), -math.inf)
    sinks = problem.scoring.sinks
    for b, h, i in np.ndindex(log_sum_exp.shape):
        if place(problem, operands.lengths, b, i).is_padding:
            continue
        if sinks is None and not visible[b, h, i].any():
            weights[b, h, i] = _empty_row(problem, operands, b)
            continue
        sink = -math.inf if sinks is None else float(sinks[h])
        weights[b, h, i], log_sum_exp[b, h, i] = _softmax(masked[b, h, i].tolist(), sink)
    return weights, log_sum_exp


def _softmax(masked: Vector, sink: float) -> tuple[Vector, float]:
    """The weights and the natural logarithm of the sum of exponentials; 0 and −inf where there is nothing to sum."""
    largest = max([*masked, sink])
    if largest == -math.inf:
        return [0.0] * len(masked), -math.inf
    exponentials = [math.exp(score - largest) for score in masked]
    total = math.fsum([*exponentials, math.exp(sink - largest)])
    return [exponential / total for exponential in exponentials], largest + math.log(total)


def _empty_row(problem: Problem, operands: Operands, b: int) -> Vector:
    """The weights of a query that may see no key."""
    if problem.visibility.empty_row is EmptyRow.NAN:
        return [math.nan] * operands.all_keys
    if problem.visibility.empty_row is EmptyRow.ZERO:
        return [0.0] * operands.all_keys
    valid = valid_keys(problem, operands.lengths, b)
    return [1 / valid if j < valid else 0.0 for j in range(operands.all_keys)]


def _weighted_values(problem: Problem, operands: Operands, visible: npt.NDArray[np.bool_], weights: Array) -> Array:
    """Weights·V of each head: (B, Hq, L, Dv)."""
    per_head = np.zeros((*visible.shape[:3], operands.value_size))
    for b, h, i in np.ndindex(visible.shape[:3]):
        values = operands.values[b][h * operands.kv_heads // operands.heads]
        for feature in range(operands.value_size):
            per_head[b, h, i, feature] = dot(weights[b, h, i].tolist(), [value[feature] for value in values])
        empty = problem.scoring.sinks is None and not visible[b, h, i].any()
        if empty and problem.visibility.empty_row is EmptyRow.NAN:  # also where there is no key whose weight says it
            per_head[b, h, i] = 0 if place(problem, operands.lengths, b, i).is_padding else math.nan
    return per_head


def _without_extras(rows: Rows, operands: Operands, size: int) -> Array:
    """(B, Hkv, T, D)."""
    keys = operands.lengths.keys
    shape = (len(rows), operands.kv_heads, keys, size)
    return np.array([[head[:keys] for head in row] for row in rows], float).reshape(shape)


def _output(problem: Problem, operands: Operands, per_head: Array) -> Array:
    """(B, Hq, L, Dv) in the layout of the query, projected; padding is answered with 0."""
    if problem.query.ndim == 4:
        return per_head if problem.multi_head.axis_order is AxisOrder.HEADS_FIRST else per_head.transpose(0, 2, 1, 3)
    weight, bias = problem.multi_head.output_weight, problem.multi_head.output_bias
    features = operands.heads * operands.value_size if weight is None else weight.shape[0]
    output = np.zeros((operands.lengths.batch, operands.lengths.queries, features))
    for b, i in np.ndindex(output.shape[:2]):
        if not place(problem, operands.lengths, b, i).is_padding:
            output[b, i] = linear(per_head[b, :, i].ravel().tolist(), weight, bias)
    return output[0] if problem.query.ndim == 2 else output
