"""What is added to scores by the distance between a key and the position of a query: ALiBi and T5's relative bias."""

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from qkv_server.core.dimensions import Dimensions
from qkv_server.core.positions import IntArray
from qkv_server.core.precision import widened
from qkv_server.core.problem import Array, RelativeBias, Scoring

DEFAULT_MAX_DISTANCE = 128
MOST_BUCKETS = 1024
LARGEST_MAX_DISTANCE = 2**31


class DistanceBias:
    """The biases of a problem, asked for by distance: key − position."""

    def __init__(self, scoring: Scoring, dimensions: Dimensions) -> None:
        self._compute = dimensions.compute
        self._slopes = self._table = None
        if scoring.alibi is not None:
            given = scoring.alibi.slopes
            slopes = widened(alibi_slopes(dimensions.heads) if given is None else given, dimensions.compute)
            self._slopes = slopes.reshape(-1, dimensions.heads)  # (B or 1, Hq)
        if scoring.relative_bias is not None:
            self._t5 = scoring.relative_bias
            self._table = widened(np.ascontiguousarray(self._t5.table.T), dimensions.compute)  # (Hq, buckets)

    def __bool__(self) -> bool:
        """Whether scores depend on distances at all."""
        return self._slopes is not None or self._table is not None

    def at(self, distances: IntArray, row: int | None = None, heads: slice = slice(None)) -> Array:
        """(B or 1, heads, …) for distances (B or 1, …); of one batch row, (1, heads, …) for (1, …)."""
        bias: Array = np.zeros((), self._compute)
        if self._slopes is not None:
            slopes = self._slopes if row is None or len(self._slopes) == 1 else self._slopes[row : row + 1]
            slopes = np.expand_dims(slopes[:, heads], tuple(range(2, distances.ndim + 1)))
            bias = bias - slopes * np.abs(distances).astype(self._compute)[:, None]
        if self._table is not None:
            longest = self._t5.max_distance or DEFAULT_MAX_DISTANCE
            buckets = bucket(distances, self._table.shape[1], self._t5.bidirectional, longest)
            bias = bias + np.moveaxis(self._table[heads][:, buckets], 0, 1)
        return bias


def alibi_slopes(heads: int) -> npt.NDArray[np.float64]:
    """The slopes of "Train Short, Test Long" (Press et al., 2022) and its released code, for any number of heads.

    For n heads, a power of two: 2^(−8/n), 2^(−16/n), …, 2^−8. For others those of the power of two below, m, and then
    every other one of those of 2m heads.
    """
    below = 1 << (heads.bit_length() - 1)
    slopes = _geometric(below)
    return slopes if below == heads else np.concatenate((slopes, _geometric(2 * below)[::2][: heads - below]))


def bucket(distances: IntArray, buckets: int, bidirectional: bool, max_distance: int) -> IntArray:
    """The bucket of each distance, key − position (T5, Raffel et al., 2020; its code's relative_position_bucket)."""
    if bidirectional:
        each = buckets // 2
        starts = _bucket_starts(each, max_distance)
        return np.where(distances > 0, each, 0) + np.searchsorted(starts, np.abs(distances), side="right") - 1
    return np.searchsorted(_bucket_starts(buckets, max_distance), np.maximum(-distances, 0), side="right") - 1


def bias_of_newest(bias: RelativeBias, keys: int) -> Array:
    """What the query at the last of so many keys adds to its scores: (Hq, keys)."""
    buckets = bucket(
        np.arange(1 - keys, 1), len(bias.table), bias.bidirectional, bias.max_distance or DEFAULT_MAX_DISTANCE
    )
    return np.ascontiguousarray(bias.table[buckets].T)


@lru_cache(maxsize=64)
def _bucket_starts(buckets: int, max_distance: int) -> IntArray:
    """The smallest distance of each bucket of one direction, exactly.

    Of b buckets the first h = b // 2 hold one distance each. Bucket h + k begins at the smallest d that is at least
    h·(max_distance / h)^(k / (b − h)): in whole numbers d^(b − h)·h^k ≥ max_distance^k·h^(b − h).
    """
    single = buckets // 2
    wide = buckets - single

    def start(place: int) -> int:
        target = max_distance**place * single**wide
        distance = int(single * (max_distance / single) ** (place / wide))
        while (distance + 1) ** wide * single**place < target:
            distance += 1
        return distance if distance**wide * single**place >= target else distance + 1

    return np.array([*range(single), *(start(place) for place in range(wide))], np.int64)


def _geometric(heads: int) -> npt.NDArray[np.float64]:
    """The numbers 2^(−8/n), 2^(−16/n), …, 2^−8."""
    return np.power(2.0, -8 * np.arange(1, heads + 1) / heads)
