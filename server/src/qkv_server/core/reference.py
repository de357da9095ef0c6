"""The definition: scaled dot-product attention, step by step on whole arrays.

    scores  = scale · Q·Kᵀ                                    (B, Hq, L, T)
    capped  = softcap · tanh(scores / softcap)
    masked  = capped + bias, −inf where hidden
    weights = softmax(masked)
    output  = weights · V                                     (B, Hq, L, Dv)

Order and rules are those of the ONNX operator Attention (opset 25); "Attention Is All You Need" (Vaswani et al., 2017),
section 3.2.1. This file knows nothing of speed or of memory: faster paths are tested against it.
"""

import numpy as np

from qkv_server.core.dimensions import Dimensions
from qkv_server.core.problem import Array, EmptyRow, Scoring, SoftmaxAxis, Visibility
from qkv_server.core.visibility import BoolArray, mask_bias, valid_keys, valid_queries, visible_pairs
from qkv_server.core.work import Work


def attend(
    query: Array, key: Array, value: Array, visibility: Visibility, scoring: Scoring, dimensions: Dimensions
) -> Work:
    """Attention of query (B, Hq, L, D) over key (B, Hkv, T, D) and value (B, Hkv, T, Dv), all in the compute type.

    T counts every key here: cached, new and extra.
    """
    visible = visible_pairs(visibility, dimensions)
    scale = scoring.scale if scoring.scale is not None else 1 / np.sqrt(dimensions.head_size)
    scores = _heads(_grouped(query, dimensions) @ key[:, :, None].swapaxes(-1, -2), dimensions)
    scores = scores * dimensions.compute.type(scale)
    capped = _capped(scores, scoring.softcap)
    bias = mask_bias(visibility, dimensions, dimensions.compute)
    masked = np.where(visible, capped if bias is None else capped + bias, -np.inf).astype(
        dimensions.compute, copy=False
    )
    axis = -1 if scoring.softmax_axis is SoftmaxAxis.KEYS else -2
    weights, log_sum_exp = softmax(masked.astype(dimensions.softmax, copy=False), visible, axis)
    weights = weights.astype(dimensions.compute, copy=False)
    empty = ~visible.any(axis=-1, keepdims=True) & valid_queries(visibility, dimensions)[:, None, :, None]
    if axis == -1:
        weights, visible = _with_empty_rows(weights, visible, empty, visibility, dimensions)
    output = weighted_sum(weights, value, visible, dimensions)
    if visibility.empty_row is EmptyRow.NAN:  # the weights say it too, unless there is no key to hold them
        output = np.where(empty, output.dtype.type(np.nan), output)
    return Work(
        scores=scores,
        capped_scores=capped,
        masked_scores=masked,
        weights=weights,
        log_sum_exp=log_sum_exp,
        output=output,
    )


def softmax(masked: Array, visible: BoolArray, axis: int) -> tuple[Array, Array]:
    """Weights that sum to 1 along the axis, and the natural logarithm of the sum of exponentials, in the type given.

    Where nothing is visible, or every visible score is −inf, weights are 0 and the logarithm −inf. A visible NaN or
    +inf makes the visible weights of its row NaN, and only those.
    """
    if masked.shape[axis] == 0:
        return masked, np.full(masked.sum(axis=axis).shape, -np.inf, dtype=masked.dtype)
    one, zero = masked.dtype.type(1), masked.dtype.type(0)
    largest = masked.max(axis=axis, keepdims=True)
    shift = np.where(np.isneginf(largest), zero, largest)
    exponentials = np.exp(masked - shift)
    total = exponentials.sum(axis=axis, keepdims=True, dtype=masked.dtype)
    weights = exponentials / np.where(total == 0, one, total)
    log_sum_exp = np.log(total) + shift
    return np.where(visible, weights, zero), log_sum_exp.squeeze(axis)


def weighted_sum(weights: Array, value: Array, visible: BoolArray, dimensions: Dimensions) -> Array:
    """Weights (B, Hq, L, T) · value (B, Hkv, T, Dv) → (B, Hq, L, Dv), in which a hidden value is never read.

    0 · NaN is NaN, so values that are not finite are left out of the product and added for the queries that see them.
    """
    finite = np.isfinite(value)
    output = _heads(_grouped(weights, dimensions) @ np.where(finite, value, 0)[:, :, None], dimensions)
    for position in np.flatnonzero(~finite.all(axis=(0, 1, 3))):
        seen = visible[..., position, None]  # (B or 1, Hq or 1, L or 1, 1)
        wild = np.where(finite[:, :, position], 0, value[:, :, position]).astype(value.dtype)  # (B, Hkv, Dv)
        wild = np.repeat(wild, dimensions.groups, axis=1)[:, :, None]  # (B, Hq, 1, Dv)
        is_wild = ~np.isfinite(wild)
        output = np.where(seen & is_wild, output + weights[..., position, None] * wild, output)
    return output


def _capped(scores: Array, softcap: float) -> Array:
    if softcap == 0:
        return scores
    cap = scores.dtype.type(softcap)
    capped: Array = cap * np.tanh(scores / cap)
    return capped


def _with_empty_rows(
    weights: Array, visible: BoolArray, empty: BoolArray, visibility: Visibility, dimensions: Dimensions
) -> tuple[Array, BoolArray]:
    """The weights with the rows that may see nothing answered as the policy says, and the pairs that they now read."""
    if visibility.empty_row is EmptyRow.ZERO:
        return weights, visible
    if visibility.empty_row is EmptyRow.NAN:
        return np.where(empty, weights.dtype.type(np.nan), weights), visible
    candidates = valid_keys(visibility, dimensions)[:, None, None, :]  # (B or 1, 1, 1, T)
    count = candidates.sum(axis=-1, keepdims=True, dtype=weights.dtype)
    equal = np.where(candidates, 1 / np.maximum(count, 1), 0).astype(weights.dtype)
    return np.where(empty, equal, weights), visible | (empty & candidates)


def _grouped(per_query_head: Array, dimensions: Dimensions) -> Array:
    """(B, Hq, …) → (B, Hkv, Hq / Hkv, …): the query heads that share a key and value head stand together."""
    return per_query_head.reshape(dimensions.batch, dimensions.kv_heads, dimensions.groups, *per_query_head.shape[-2:])


def _heads(grouped: Array, dimensions: Dimensions) -> Array:
    """(B, Hkv, Hq / Hkv, …) → (B, Hq, …)."""
    return grouped.reshape(dimensions.batch, dimensions.heads, *grouped.shape[-2:])
