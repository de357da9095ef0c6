"""Where queries and keys stand, a second time: segments, lengths and alignment, one query and one key at a time.

Every rule here is read from the comments of `protos/qkv/v1/attention.proto`; of the core only the question is used.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from qkv_server.core import Alignment, Problem


@dataclass(frozen=True)
class Lengths:
    """Sizes of a problem that positions are counted with; letters as in the contract."""

    batch: int  # B
    queries: int  # L
    past: int  # P
    new_keys: int  # S

    @property
    def keys(self) -> int:
        """T = P + S."""
        return self.past + self.new_keys


@dataclass(frozen=True)
class Place:
    """Where a query stands: its position counts from the first key of its segment."""

    position: int
    keys: range  # the valid keys of its segment, as places among all the given ones
    is_padding: bool

    def distance(self, key: int) -> int:
        """Key − position."""
        return key - self.keys.start - self.position


def place(problem: Problem, lengths: Lengths, b: int, i: int) -> Place:
    """Where query i of batch row b stands."""
    visibility = problem.visibility
    queries = range(valid(visibility.query_lengths, b, lengths.queries))
    keys = range(valid_keys(problem, lengths, b))
    if visibility.cumulative_query_lengths:
        segments = _segments(visibility.cumulative_query_lengths)
        queries, keys = next(
            both for both in zip(segments, _key_segments(problem), strict=True) if both[0].start <= i < both[0].stop
        )
    from_the_first = i - queries.start
    if visibility.alignment is Alignment.BOTTOM_RIGHT:
        position = len(keys) - len(queries) + from_the_first
    else:
        position = lengths.past + from_the_first
    return Place(position, keys, i not in queries)


def key_position(problem: Problem, lengths: Lengths, j: int) -> int:
    """Where new key j stands, counted from the first key of its segment; the cache comes before."""
    if problem.visibility.cumulative_query_lengths:
        return next(j - keys.start for keys in _key_segments(problem) if j in keys)
    return lengths.past + j


def valid_keys(problem: Problem, lengths: Lengths, b: int) -> int:
    """How many of the given keys of a batch row are no padding."""
    return lengths.past + valid(problem.visibility.key_lengths, b, lengths.new_keys)


def valid(lengths: Sequence[int], b: int, everything: int) -> int:
    return lengths[b] if len(lengths) else everything


def _key_segments(problem: Problem) -> list[range]:
    visibility = problem.visibility
    return _segments(visibility.cumulative_key_lengths or visibility.cumulative_query_lengths)


def _segments(cumulative: Sequence[int]) -> list[range]:
    return [range(*ends) for ends in itertools.pairwise(cumulative)]
