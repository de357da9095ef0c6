"""Attention as it is usually written down: whole arrays, every step rounded to the type of the operands.

Scores, scaling, softcap, each bias, softmax and product are one step each, as of an operator of PyTorch: computed in
float32 (float64 for float64) and rounded. The rules are read from the comments of `protos/qkv/v1/attention.proto`; of
the core only the question is used. Letters in the shapes are those of the contract.
"""

import functools
import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from qkv_server.core import Alignment, EmptyRow, MaskPolarity, Problem, RelativeBias, Rotary, RotaryPairing

Array = npt.NDArray[Any]
Rounding = Callable[[Array], Array]


class Places(NamedTuple):
    """Where queries and keys stand, counted from the first key of their segment."""

    queries: Array  # (B, L)
    keys: Array  # (B, T)
    together: Array  # (B, L, T): whether both are valid, and of one segment


@np.errstate(all="ignore")  # NaN is an answer here
def attend(problem: Problem, *, scale_first: bool = False) -> Array:
    """The output (B, Hq, L, Dv) for query, key and value of rank 4, heads first; softmax over keys; no learned parts.

    The scale multiplies the scores, or the query before them: both are usual, and round differently.
    """
    dtype = problem.query.dtype
    wide = np.promote_types(dtype, np.float32)

    def rounded(array: Array) -> Array:
        return array.astype(dtype).astype(wide)

    places = _places(problem)
    query, key, value = _operands(problem, places, wide, rounded)
    visible = _visible(problem, places)
    scale = wide.type(1 / math.sqrt(query.shape[-1]) if problem.scoring.scale is None else problem.scoring.scale)
    if scale_first:
        scores = rounded(rounded(query * scale) @ key.swapaxes(-1, -2))
    else:
        scores = rounded(rounded(query @ key.swapaxes(-1, -2)) * scale)
    if cap := wide.type(problem.scoring.softcap):
        scores = rounded(cap * rounded(np.tanh(rounded(scores / cap))))
    for bias in _biases(problem, places, wide, rounded):
        scores = rounded(scores + bias)
    weights = rounded(_softmax(np.where(visible, scores, -np.inf), problem.scoring.sinks))
    weights = _with_empty_rows(weights, visible, problem, rounded)
    return (weights @ value).astype(dtype)


def _places(problem: Problem) -> Places:
    batch, _, queries, _ = problem.query.shape
    keys = _past(problem) + _keys(problem)
    places = Places(
        np.zeros((batch, queries), int), np.zeros((batch, keys), int), np.zeros((batch, queries, keys), bool)
    )
    for row, some_queries, some_keys in _segments(problem):
        count = some_keys.stop - some_keys.start
        if problem.visibility.alignment is Alignment.BOTTOM_RIGHT:
            first = count - (some_queries.stop - some_queries.start)
        else:
            first = _past(problem)
        places.queries[row, some_queries] = first + np.arange(some_queries.stop - some_queries.start)
        places.keys[row, some_keys] = np.arange(count)
        places.together[row, some_queries, some_keys] = True
    return places


def _segments(problem: Problem) -> Iterator[tuple[int, slice, slice]]:
    """Each batch row with valid queries and the keys that these may see: one pair, or one for each packed sequence."""
    visibility, past = problem.visibility, _past(problem)
    if bounds := visibility.cumulative_query_lengths:
        key_bounds = visibility.cumulative_key_lengths or bounds
        for n in range(len(bounds) - 1):
            yield 0, slice(bounds[n], bounds[n + 1]), slice(key_bounds[n], key_bounds[n + 1])
        return
    batch, _, queries, _ = problem.query.shape
    for row in range(batch):
        valid_queries = visibility.query_lengths[row] if visibility.query_lengths else queries
        valid_keys = visibility.key_lengths[row] if visibility.key_lengths else _keys(problem)
        yield row, slice(0, valid_queries), slice(0, past + valid_keys)


def _past(problem: Problem) -> int:
    return 0 if problem.past_key is None else int(problem.past_key.shape[2])


def _keys(problem: Problem) -> int:
    assert problem.key is not None
    return int(problem.key.shape[2])


def _operands(problem: Problem, places: Places, wide: np.dtype[Any], rounded: Rounding) -> tuple[Array, Array, Array]:
    """Query (B, Hq, L, D), key (B, Hq, T, D) and value (B, Hq, T, Dv): turned, cached before new, heads repeated."""
    assert problem.key is not None
    assert problem.value is not None
    query, key, value = problem.query.astype(wide), problem.key.astype(wide), problem.value.astype(wide)
    past = _past(problem)
    if problem.rotary is not None:
        query = _turned(query, places.queries, problem.rotary, rounded)
        key = _turned(key, places.keys[:, past:], problem.rotary, rounded)
    if problem.past_key is not None and problem.past_value is not None:
        key = np.concatenate((problem.past_key.astype(wide), key), axis=2)
        value = np.concatenate((problem.past_value.astype(wide), value), axis=2)
    groups = query.shape[1] // key.shape[1]
    return query, np.repeat(key, groups, axis=1), np.repeat(value, groups, axis=1)


def _turned(x: Array, positions: Array, rotary: Rotary, rounded: Rounding) -> Array:
    """The vectors (B, H, N, D) with pairs of features turned by their positions (B, N); angles are not rounded."""
    size = rotary.rotary_size or x.shape[-1]
    frequencies = (rotary.base or 10000.0) ** (-np.arange(0, size, 2) / size)
    angles = positions[:, None, :, None] * frequencies
    cosines, sines = rounded(np.cos(angles)), rounded(np.sin(angles))
    if rotary.pairing is RotaryPairing.HALF_SPLIT:
        first, second = slice(0, size // 2), slice(size // 2, size)
    else:
        first, second = slice(0, size, 2), slice(1, size, 2)
    a, b = x[..., first], x[..., second]
    turned = x.copy()
    turned[..., first] = rounded(rounded(a * cosines) - rounded(b * sines))
    turned[..., second] = rounded(rounded(b * cosines) + rounded(a * sines))
    return turned


def _visible(problem: Problem, places: Places) -> Array:
    """Which pairs are visible, (B, Hq, L, T)."""
    visibility, distances = problem.visibility, _distances(places)
    sees = places.together.copy()
    if visibility.causal:
        sees &= distances <= 0
    if visibility.window_left is not None:
        sees &= distances >= -visibility.window_left
    if visibility.window_right is not None:
        sees &= distances <= visibility.window_right
    if size := visibility.chunk_size:
        sees &= places.keys[:, None, :] // size == places.queries[:, :, None] // size
    batch, heads, queries, _ = problem.query.shape
    keys = sees.shape[-1]
    visible = np.broadcast_to(sees[:, None], (batch, heads, queries, keys))
    if (mask := visibility.mask) is not None:
        if mask.dtype != np.bool_:
            attends = mask != -np.inf
        else:
            attends = mask if visibility.mask_polarity is MaskPolarity.TRUE_ATTENDS else ~mask
        visible = visible & _padded(attends, keys)
    if (blocks := visibility.block_map) is not None:
        rows, columns = visibility.query_block_size, visibility.key_block_size or visibility.query_block_size
        visible = visible & blocks.repeat(rows, axis=-2).repeat(columns, axis=-1)[..., :queries, :keys]
    return visible


def _distances(places: Places) -> Array:
    """Key − position, (B, L, T)."""
    return places.keys[:, None, :] - places.queries[:, :, None]


def _biases(problem: Problem, places: Places, wide: np.dtype[Any], rounded: Rounding) -> Iterator[Array]:
    """What is added to the scores, each broadcasting to (B, Hq, L, T); finite where something is visible."""
    distances, heads = _distances(places)[:, None], problem.query.shape[1]
    if (alibi := problem.scoring.alibi) is not None:
        slopes = np.array(_paper_slopes(heads)) if alibi.slopes is None else alibi.slopes
        yield rounded(-slopes.astype(wide).reshape(-1, heads, 1, 1) * np.abs(distances).astype(wide))
    if (relative := problem.scoring.relative_bias) is not None:
        lowest, highest = int(distances.min()), int(distances.max())
        buckets = np.array([_bucket(relative, distance) for distance in range(lowest, highest + 1)])
        yield np.moveaxis(relative.table.astype(wide)[buckets[distances[:, 0] - lowest]], -1, 1)
    if (mask := problem.visibility.mask) is not None and mask.dtype != np.bool_:
        yield _padded(mask.astype(wide), distances.shape[-1])


def _paper_slopes(heads: int) -> list[float]:
    """The slopes of "Train Short, Test Long" (Press et al., 2022), section 3 and footnote 5."""
    if heads & (heads - 1) == 0:
        return [2.0 ** (-8 * (head + 1) / heads) for head in range(heads)]
    below = 2 ** int(math.log2(heads))
    return _paper_slopes(below) + _paper_slopes(2 * below)[::2][: heads - below]


def _bucket(relative: RelativeBias, distance: int) -> int:
    buckets, longest = len(relative.table), relative.max_distance or 128
    if not relative.bidirectional:
        return _bucket_of_one_direction(max(-distance, 0), buckets, longest)
    half = buckets // 2
    return half * (distance > 0) + _bucket_of_one_direction(abs(distance), half, longest)


@functools.cache
def _bucket_of_one_direction(distance: int, buckets: int, max_distance: int) -> int:
    """T5's single distances, and then ⌊log(distance / single) / log(max_distance / single) · rest⌋ of the rest.

    In whole numbers, where that floor is exact: it is at least k where (d / s)^rest ≥ (m / s)^k.
    """
    single = buckets // 2
    if distance < single:
        return distance
    rest = buckets - single
    reached = (k for k in range(rest) if distance**rest * single**k >= max_distance**k * single**rest)
    return single + max(reached)


def _softmax(scores: Array, sinks: Array | None) -> Array:
    """The weights over the last axis, 0 in rows without a finite score and no sink; a sink (Hq) takes its share."""
    if sinks is not None:
        sink = np.broadcast_to(sinks.astype(scores.dtype)[:, None, None], (*scores.shape[:-1], 1))
        return _softmax(np.concatenate((scores, sink), axis=-1), None)[..., :-1]
    largest = scores.max(axis=-1, keepdims=True)
    exponentials = np.where(np.isneginf(scores), 0, np.exp(scores - largest))
    total = exponentials.sum(axis=-1, keepdims=True)
    return exponentials / np.where(total == 0, 1, total)


def _with_empty_rows(weights: Array, visible: Array, problem: Problem, rounded: Rounding) -> Array:
    """The weights with those of valid queries that see nothing as the policy says."""
    visibility = problem.visibility
    if visibility.empty_row is EmptyRow.ZERO:
        return weights
    batch, _, queries, _ = problem.query.shape
    past, new_keys = _past(problem), _keys(problem)
    valid_queries = np.arange(queries) < np.reshape(visibility.query_lengths or [queries] * batch, (-1, 1))
    valid_keys = np.arange(past + new_keys) < past + np.reshape(visibility.key_lengths or [new_keys] * batch, (-1, 1))
    empty = ~visible.any(axis=-1, keepdims=True) & valid_queries[:, None, :, None]
    if visibility.empty_row is EmptyRow.NAN:
        return np.where(empty, np.nan, weights)
    equal = valid_keys / np.maximum(valid_keys.sum(axis=-1, keepdims=True), 1)
    return np.where(empty, rounded(equal)[:, None, None, :], weights)


def _padded(mask: Array, keys: int) -> Array:
    """The mask (…, up to T) with hidden after its last axis: (…, T)."""
    hidden = False if mask.dtype == np.bool_ else -np.inf
    width = [(0, 0)] * (mask.ndim - 1) + [(0, keys - mask.shape[-1])]
    return np.pad(mask, width, constant_values=hidden)
