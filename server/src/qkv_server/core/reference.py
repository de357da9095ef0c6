"""The definition: scaled dot-product attention, step by step.

    scores  = scale · Q·Kᵀ                                    (B, Hq, L, T)
    capped  = softcap · tanh(scores / softcap)
    masked  = capped + biases, −inf where hidden
    weights = softmax(masked, beside the sink)
    output  = weights · V                                     (B, Hq, L, Dv)

Order and rules are those of the ONNX operator Attention (opset 25); "Attention Is All You Need" (Vaswani et al., 2017),
section 3.2.1. Scores of float64 are kept in two parts (`products`). This file knows nothing of speed or of memory:
faster paths are tested against it. It takes (B, Hq, L, T) part by part, between which it can be cancelled.
"""

from collections.abc import Iterator

import numpy as np

from qkv_server.core import products
from qkv_server.core.dimensions import Dimensions
from qkv_server.core.empty_rows import empty_row
from qkv_server.core.positions import BoolArray, standing, valid_keys, valid_queries
from qkv_server.core.precision import FLOAT64, is_floating
from qkv_server.core.problem import Array, EmptyRow, Path, Scoring, SoftmaxAxis, Visibility
from qkv_server.core.products import Factors, Scores
from qkv_server.core.relative_bias import DistanceBias
from qkv_server.core.threads import Cancellation
from qkv_server.core.visibility import given_mask, mask_bias, visible_pairs
from qkv_server.core.work import Work

Part = tuple[slice, slice, slice, slice]  # of (B, Hq, L, T)

QUERIES, KEYS = -2, -1  # axes

PART_PAIRS = 2**17  # of a query and a key: a few milliseconds
PART_STEP = 96  # rows of a product that BLAS computes to the same bit whether or not there are others


def attend(
    query: Array,
    key: Array,
    value: Array,
    visibility: Visibility,
    scoring: Scoring,
    dimensions: Dimensions,
    cancellation: Cancellation,
) -> Work:
    """Attention of query (B, Hq, L, D) over key (B, Hkv, T, D) and value (B, Hkv, T, Dv), all in the compute type.

    T counts every key here: cached, new and extra. Raises CancelledError within one of `parts` after the cancellation;
    which pairs are visible is one step for all.
    """
    d = dimensions
    pairs = (d.batch, d.heads, d.queries, d.all_keys)
    axis, free = softmax_axes(scoring)
    visible, empty = visible_and_empty(visibility, d)
    valid = np.broadcast_to(valid_keys(visibility, d)[:, None, None], (d.batch, 1, 1, d.all_keys))
    policy = empty_row(visibility, scoring)
    biases = _Biases(visibility, scoring, d)
    sinks = _sinks(visibility, scoring, d)
    scaled = products.factors(query, scoring.scale)
    scores, capped, masked, weights = (np.empty(pairs, d.compute) for _ in range(4))
    rest = np.empty(pairs) if d.softmax == d.compute == FLOAT64 else None  # what `masked` is rounded by
    log_sum_exp = np.empty((d.batch, d.heads, pairs[free]), d.softmax)
    output = np.empty((*pairs[:3], d.value_size), d.compute)
    for part in parts(d, QUERIES, cancellation):
        of_part = products.scores(_rows_of(scaled, part), per_query_head(key, part, d))
        scores[part] = of_part.rounded()
        of_part = softcapped(of_part, scoring.softcap)
        capped[part] = of_part.rounded()
        of_part = _masked(of_part, visible[part], biases, part)
        masked[part] = weights[part] = of_part.rounded()  # whose memory comes row by row: by columns it takes long
        if rest is not None:
            rest[part] = of_part.low
    for part in parts(d, free, cancellation):
        weights[part], log_sum_exp[(*part[:2], part[free])] = softmax(
            Scores(masked[part].astype(d.softmax, copy=False), None if rest is None else rest[part]),
            visible[part],
            axis,
            None if sinks is None else sinks[part[:3]],
        )
    for part in parts(d, QUERIES, cancellation):
        rows, seen = part[:3], visible[part]
        if axis == KEYS:
            weights[part], seen = _with_empty_rows(policy, weights[part], seen, empty[rows], valid[part[0]])
        output[rows] = weighted_sum(weights[part], per_query_head(value, part, d), seen, cancellation)
        if policy is EmptyRow.NAN:  # the weights say it too, unless there is no key to hold them
            np.copyto(output[rows], np.nan, where=empty[rows])
    return Work(
        path=Path.REFERENCE,
        scores=scores,
        capped_scores=capped,
        masked_scores=masked,
        weights=weights,
        log_sum_exp=log_sum_exp,
        output=output,
    )


def parts(dimensions: Dimensions, axis: int, cancellation: Cancellation) -> Iterator[Part]:
    """Parts of (B, Hq, L, T) with about PART_PAIRS pairs: some batch rows, heads of one, or queries or keys of a head.

    The axis, QUERIES or KEYS, is the one that may be cut, at multiples of PART_STEP, which may be more pairs. Sums go
    over the other and stay whole: parts change no bit. Raises CancelledError between parts.
    """
    d = dimensions
    of_head = d.queries * d.all_keys
    length, other = (d.queries, d.all_keys) if axis == QUERIES else (d.all_keys, d.queries)
    step = max(1, PART_PAIRS // max(1, other * PART_STEP)) * PART_STEP
    for batch in cuts(d.batch, PART_PAIRS // max(1, d.heads * of_head)):
        for heads in cuts(d.heads, PART_PAIRS // max(1, of_head)):
            for cut in cuts(length, step):
                cancellation.check()
                whole = slice(0, other)
                yield (batch, heads, cut, whole) if axis == QUERIES else (batch, heads, whole, cut)


def cuts(length: int, step: int) -> Iterator[slice]:
    """An axis in pieces of a step, at least 1; the last takes what remains, and so is the longest."""
    step = max(step, 1)
    starts = range(0, max(length // step, 1) * step, step)
    return (slice(start, length if start == starts[-1] else start + step) for start in starts)


def softmax_axes(scoring: Scoring) -> tuple[int, int]:
    """The axis that the softmax goes over, and the other one, along which it knows nothing of its neighbours."""
    return (KEYS, QUERIES) if scoring.softmax_axis is SoftmaxAxis.KEYS else (QUERIES, KEYS)


def per_query_head(array: Array, part: Part, dimensions: Dimensions) -> Array:
    """The keys or values (B, Hkv, T, …) of a part, once for each of its query heads."""
    batch, heads, _, keys = part
    of_kv_heads: Array = array[batch, :, keys]
    return of_kv_heads.take(np.arange(heads.start, heads.stop) // dimensions.groups, axis=1)


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


def visible_and_empty(visibility: Visibility, dimensions: Dimensions) -> tuple[BoolArray, BoolArray]:
    """The visible pairs (B, Hq, L, T), and the queries that may see no key and are no padding (B, Hq, L, 1)."""
    d = dimensions
    visible = visible_pairs(visibility, d)
    empty = ~visible.any(axis=-1, keepdims=True) & valid_queries(visibility, d)[:, None, :, None]
    rows = (d.batch, d.heads, d.queries)
    return np.broadcast_to(visible, (*rows, d.all_keys)), np.broadcast_to(empty, (*rows, 1))


class _Biases:
    """What is added to scores, asked for part by part."""

    def __init__(self, visibility: Visibility, scoring: Scoring, dimensions: Dimensions) -> None:
        d = dimensions
        self._given = d.keys
        self._by_distance = DistanceBias(scoring, d)
        self._position = np.broadcast_to(standing(visibility, d).position, (d.batch, d.queries))
        mask = given_mask(visibility, d)
        self._mask: Array | None = None
        if mask is not None and is_floating(mask.dtype):
            self._mask = np.broadcast_to(mask, (d.batch, d.heads, d.queries, d.all_keys))

    def add_to(self, scores: Scores, part: Part) -> None:
        """Add them to the scores of a part, in place."""
        batch, heads, queries, keys = part
        if self._by_distance and batch.start < batch.stop:
            given = np.arange(keys.start, min(keys.stop, self._given))  # the extra keys have no place
            distances = given - self._position[batch, queries, None]  # (b, l, t)
            of_rows = [
                self._by_distance.at(of_row[None], row, heads)
                for row, of_row in zip(range(batch.start, batch.stop), distances, strict=True)
            ]
            high, low = scores
            inside = Scores(high[..., : len(given)], None if low is None else low[..., : len(given)])
            products.add(inside, np.concatenate(of_rows))
        if self._mask is not None:
            products.add(scores, mask_bias(self._mask[part], scores.high.dtype))


def _masked(capped: Scores, visible: BoolArray, biases: _Biases, part: Part) -> Scores:
    """The scores of a part with every bias, −inf where hidden."""
    masked = Scores(capped.high.copy(), None if capped.low is None else capped.low.copy())
    biases.add_to(masked, part)
    np.copyto(masked.high, -np.inf, where=~visible)
    if masked.low is not None:
        np.copyto(masked.low, 0, where=~visible)
    return masked


def _rows_of(scaled: Factors, part: Part) -> Factors:
    """The query rows of a part."""
    rows = part[:3]
    return Factors(scaled.high[rows], *(None if array is None else array[rows] for array in scaled[1:]))


def _sinks(visibility: Visibility, scoring: Scoring, dimensions: Dimensions) -> Array | None:
    """The sinks in the type of the softmax, (B, Hq, L, 1): none, −inf, for padding."""
    if scoring.sinks is None:
        return None
    d = dimensions
    sinks = scoring.sinks.astype(d.softmax)[:, None, None]
    sinks = np.where(valid_queries(visibility, d)[:, None, :, None], sinks, -np.inf).astype(d.softmax)
    return np.broadcast_to(sinks, (d.batch, d.heads, d.queries, 1))


def weighted_sum(weights: Array, value: Array, visible: BoolArray, cancellation: Cancellation) -> Array:
    """Weights (b, h, l, T) · value (b, h, T, Dv) → (b, h, l, Dv), in which a hidden value is never read.

    0 · NaN is NaN, so values that are not finite are left out of the product and added for the queries that see them.
    """
    finite = np.isfinite(value)
    output: Array = weights @ np.where(finite, value, 0)
    for position in np.flatnonzero(~finite.all(axis=(0, 1, 3))):
        cancellation.check()
        seen = visible[..., position, None]  # (b, h, l, 1)
        wild = np.where(finite[:, :, position], 0, value[:, :, position])[:, :, None]  # (b, h, 1, Dv)
        output = np.where(seen & ~np.isfinite(wild), output + weights[..., position, None] * wild, output)
    return output


def _with_empty_rows(
    policy: EmptyRow, weights: Array, visible: BoolArray, empty: BoolArray, valid: BoolArray
) -> tuple[Array, BoolArray]:
    """The weights with the rows that may see nothing answered as the policy says, and the pairs that they now read.

    Valid keys (b, 1, 1, T) are no padding.
    """
    if policy is EmptyRow.ZERO:
        return weights, visible
    if policy is EmptyRow.NAN:
        return np.where(empty, weights.dtype.type(np.nan), weights), visible
    count = valid.sum(axis=-1, keepdims=True, dtype=weights.dtype)
    equal = np.where(valid, 1 / np.maximum(count, 1), 0).astype(weights.dtype)
    return np.where(empty, equal, weights), visible | (empty & valid)
