"""The definition: scaled dot-product attention, step by step on whole arrays.

    scores  = scale · Q·Kᵀ                                    (B, Hq, L, T)
    capped  = softcap · tanh(scores / softcap)
    masked  = capped + biases, −inf where hidden
    weights = softmax(masked, beside the sink)
    output  = weights · V                                     (B, Hq, L, Dv)

Order and rules are those of the ONNX operator Attention (opset 25); "Attention Is All You Need" (Vaswani et al., 2017),
section 3.2.1. Scores of float64 are kept in two parts (`products`). This file knows nothing of speed or of memory:
faster paths are tested against it.
"""

import numpy as np

from qkv_server.core import products
from qkv_server.core.dimensions import Dimensions
from qkv_server.core.empty_rows import empty_row
from qkv_server.core.positions import BoolArray, standing, valid_keys, valid_queries
from qkv_server.core.precision import is_floating
from qkv_server.core.problem import Array, EmptyRow, Path, Scoring, SoftmaxAxis, Visibility
from qkv_server.core.products import Scores
from qkv_server.core.relative_bias import DistanceBias
from qkv_server.core.visibility import given_mask, mask_bias, visible_pairs
from qkv_server.core.work import Work


def attend(
    query: Array, key: Array, value: Array, visibility: Visibility, scoring: Scoring, dimensions: Dimensions
) -> Work:
    """Attention of query (B, Hq, L, D) over key (B, Hkv, T, D) and value (B, Hkv, T, Dv), all in the compute type.

    T counts every key here: cached, new and extra.
    """
    visible = visible_pairs(visibility, dimensions)
    scaled = products.factors(_grouped(query, dimensions), scoring.scale)
    scores = _of_heads(products.scores(scaled, key[:, :, None]), dimensions)
    capped = softcapped(scores, scoring.softcap)
    masked = _masked(capped, visible, visibility, scoring, dimensions)
    axis = -1 if scoring.softmax_axis is SoftmaxAxis.KEYS else -2
    weights, log_sum_exp = softmax(
        masked
        if dimensions.softmax == dimensions.compute
        else Scores(masked.rounded().astype(dimensions.softmax), None),
        visible,
        axis,
        _sinks(visibility, scoring, dimensions),
    )
    weights = weights.astype(dimensions.compute, copy=False)
    empty, policy = empty_rows(visible, visibility, dimensions), empty_row(visibility, scoring)
    if axis == -1:
        weights, visible = _with_empty_rows(policy, weights, visible, empty, visibility, dimensions)
    output = weighted_sum(weights, value, visible, dimensions)
    if policy is EmptyRow.NAN:  # the weights say it too, unless there is no key to hold them
        output = np.where(empty, output.dtype.type(np.nan), output)
    return Work(
        path=Path.REFERENCE,
        scores=scores.rounded(),
        capped_scores=capped.rounded(),
        masked_scores=masked.rounded(),
        weights=weights,
        log_sum_exp=log_sum_exp,
        output=output,
    )


def softcapped(scores: Scores, softcap: float) -> Scores:
    """The scores as c·tanh(score / c); as they are for 0."""
    if softcap == 0:
        return scores
    cap = scores.high.dtype.type(softcap)
    return Scores(cap * np.tanh(scores.rounded() / cap), None if scores.low is None else np.zeros_like(scores.low))


def softmax(masked: Scores, visible: BoolArray, axis: int, sinks: Array | None = None) -> tuple[Array, Array]:
    """Weights that sum to 1 along the axis, and the natural logarithm of the sum of exponentials, in the type given.

    Where nothing is visible, or every visible score is −inf, weights are 0 and the logarithm −inf. A visible NaN or
    +inf makes the visible weights of its row NaN, and only those. Sinks are one more score along the axis, (…, 1).
    """
    scores, rest = masked
    one, zero = scores.dtype.type(1), scores.dtype.type(0)
    largest = scores.max(axis=axis, keepdims=True, initial=-np.inf)
    if sinks is not None:
        largest = np.maximum(largest, sinks)
    shift = np.where(np.isneginf(largest), zero, largest)
    exponentials = np.exp(scores - shift if rest is None else (scores - shift) + rest)
    total = exponentials.sum(axis=axis, keepdims=True, dtype=scores.dtype)
    if sinks is not None:
        total = total + np.exp(sinks - shift)
    weights = exponentials / np.where(total == 0, one, total)
    log_sum_exp = np.log(total) + shift
    return np.where(visible, weights, zero), log_sum_exp.squeeze(axis)


def empty_rows(visible: BoolArray, visibility: Visibility, dimensions: Dimensions) -> BoolArray:
    """The queries that may see no key and are no padding: broadcasts to (B, Hq, L, 1)."""
    empty: BoolArray = ~visible.any(axis=-1, keepdims=True) & valid_queries(visibility, dimensions)[:, None, :, None]
    return empty


def _masked(
    capped: Scores, visible: BoolArray, visibility: Visibility, scoring: Scoring, dimensions: Dimensions
) -> Scores:
    """The scores with every bias, −inf where hidden."""
    masked = Scores(capped.high.copy(), None if capped.low is None else capped.low.copy())
    biases = DistanceBias(scoring, dimensions)
    if biases:
        position = standing(visibility, dimensions).position
        distances = np.arange(dimensions.keys) - position[..., None]  # (B or 1, L, T)
        products.add(Scores(masked.high[..., : dimensions.keys], _given(masked.low, dimensions)), biases.at(distances))
    mask = given_mask(visibility, dimensions)
    if mask is not None and is_floating(mask.dtype):
        products.add(masked, mask_bias(mask, dimensions.compute))
    np.copyto(masked.high, -np.inf, where=~visible)
    if masked.low is not None:
        np.copyto(masked.low, 0, where=~visible)
    return masked


def _given(array: Array | None, dimensions: Dimensions) -> Array | None:
    """Without the extra keys."""
    return None if array is None else array[..., : dimensions.keys]


def _sinks(visibility: Visibility, scoring: Scoring, dimensions: Dimensions) -> Array | None:
    """The sinks in the type of the softmax, (B or 1, Hq, L, 1): none, −inf, for padding."""
    if scoring.sinks is None:
        return None
    sinks = scoring.sinks.astype(dimensions.softmax)[:, None, None]
    return np.where(valid_queries(visibility, dimensions)[:, None, :, None], sinks, -np.inf).astype(dimensions.softmax)


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


def _with_empty_rows(
    policy: EmptyRow,
    weights: Array,
    visible: BoolArray,
    empty: BoolArray,
    visibility: Visibility,
    dimensions: Dimensions,
) -> tuple[Array, BoolArray]:
    """The weights with the rows that may see nothing answered as the policy says, and the pairs that they now read."""
    if policy is EmptyRow.ZERO:
        return weights, visible
    if policy is EmptyRow.NAN:
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


def _of_heads(grouped: Scores, dimensions: Dimensions) -> Scores:
    return Scores(_heads(grouped.high, dimensions), None if grouped.low is None else _heads(grouped.low, dimensions))
