"""Where each query stands among the keys: its segment, and its position in it."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from qkv_server.core.dimensions import Dimensions
from qkv_server.core.problem import Alignment, Visibility

BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]


class Standing(NamedTuple):
    """Of each query, (B or 1, N): all in places of the T given keys."""

    begin: IntArray  # the first key of its segment
    end: IntArray  # after the last valid key of its segment
    position: IntArray  # its own, which may lie outside the segment
    valid: BoolArray  # whether it is no padding


def standing(visibility: Visibility, dimensions: Dimensions, queries: IntArray | None = None) -> Standing:
    """Where the queries stand by segments, lengths and `Alignment`; `queries` (B or 1, N) are those asked for."""
    if queries is None:
        queries = np.arange(dimensions.queries)[None]  # (1, L)
    if len(visibility.cumulative_query_lengths):
        starts, key_starts = segment_starts(visibility)
        segment = np.searchsorted(starts, queries, side="right") - 1
        begin, end = key_starts[segment], key_starts[segment + 1]
        first, last = starts[segment], starts[segment + 1]
    else:
        begin = first = np.zeros_like(queries)
        end = begin + (dimensions.past + _lengths(visibility.key_lengths, dimensions.new_keys))
        last = _lengths(visibility.query_lengths, dimensions.queries)
    if visibility.alignment is Alignment.BOTTOM_RIGHT:
        position = end - last + queries
    else:
        position = begin - first + dimensions.past + queries
    return Standing(begin, end, position, queries < last)


def segment_starts(visibility: Visibility) -> tuple[IntArray, IntArray]:
    """Where the segments of packed queries begin, with the end after the last, and where those of the keys do."""
    queries = np.asarray(visibility.cumulative_query_lengths, np.int64)
    keys = visibility.cumulative_key_lengths
    return queries, np.asarray(keys, np.int64) if len(keys) else queries


def segment_ends(visibility: Visibility, dimensions: Dimensions) -> IntArray:
    """The first and the last valid query of each segment, one after the other: (B or 1, 2 · segments)."""
    if len(visibility.cumulative_query_lengths):
        starts, _ = segment_starts(visibility)
        filled = starts[1:] > starts[:-1]
        return np.stack((starts[:-1], starts[1:] - 1), axis=1)[filled].reshape(1, -1)
    last = np.maximum(_lengths(visibility.query_lengths, dimensions.queries) - 1, 0)  # (B or 1, 1)
    return np.concatenate((np.zeros_like(last), last), axis=1)


def valid_queries(visibility: Visibility, dimensions: Dimensions) -> BoolArray:
    """Which queries are not padding: (B or 1, L)."""
    return np.arange(dimensions.queries) < _lengths(visibility.query_lengths, dimensions.queries)


def valid_keys(visibility: Visibility, dimensions: Dimensions) -> BoolArray:
    """Which keys are not padding: (B or 1, T and the extra keys)."""
    given = np.arange(dimensions.keys) < dimensions.past + _lengths(visibility.key_lengths, dimensions.new_keys)
    return np.pad(given, ((0, 0), (0, dimensions.extra_keys)), constant_values=True)


def _lengths(lengths: Sequence[int], everything: int) -> IntArray:
    """Lengths as a column (B, 1), or (1, 1) of everything when none are given."""
    return np.array(lengths if len(lengths) else (everything,), np.int64)[:, None]
