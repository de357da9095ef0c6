"""How many tasks, tiles and pairs a plan makes of a problem, known without reading an operand.

Which keys a query may see is said by `key_range`, and how blocks and tiles are cut by the plan; tests hold the numbers
to what `Sight` hands out. They bound it from above where it is not worth looking: a mask is taken to hide a part of
every tile, and so is a range of keys with a block map; keys between the ranges of two segments are taken to be seen.
"""

from dataclasses import dataclass

import numpy as np

from qkv_server.core.blocked import Plan
from qkv_server.core.dimensions import Dimensions
from qkv_server.core.pieces import PIECES, padded
from qkv_server.core.positions import IntArray, standing
from qkv_server.core.problem import Visibility
from qkv_server.core.visibility import four_axes, is_limited, key_block_size, key_range


@dataclass(frozen=True, slots=True)
class Counts:
    """What the tasks of a plan do in all, going once over what their queries see."""

    tasks: int
    tiles: int
    keys: int  # of every tile and each of its heads, at the width at which it is computed
    pairs: int  # these times the query rows of their block
    hiding_tiles: int  # of which something is hidden
    hidden_pairs: int  # those of such tiles, hidden or not


def counts(visibility: Visibility, dimensions: Dimensions, plan: Plan) -> Counts:
    """The counts of a problem under a plan."""
    d = dimensions
    stacks = -(-d.kv_heads // plan.kv_heads)
    blocks = -(-d.queries // plan.queries)
    parts = max(-(-d.all_keys // plan.split), 1) if plan.split else 1
    tasks = d.batch * stacks * blocks * parts
    if d.queries == 0 or not (is_limited(visibility) or visibility.block_map is not None):
        tiles, keys = d.batch * stacks * blocks * -(-d.all_keys // plan.keys), padded(d.all_keys)
        pairs, hides = d.batch * d.heads * d.queries * keys, visibility.mask is not None
        return Counts(tasks, tiles, d.batch * d.kv_heads * blocks * keys, pairs, tiles * hides, pairs * hides)
    starts = np.arange(0, d.queries, plan.queries)
    of_blocks = (_of_ranges if visibility.block_map is None else _of_block_map)(visibility, d, plan.keys, starts)
    rows = np.full(len(starts), plan.queries * d.groups)
    rows[-1:] = (d.queries - (len(starts) - 1) * plan.queries) * d.groups
    _, batch, heads, _ = of_blocks.shape
    of_rows = d.batch // batch if batch else 0
    if visibility.block_map is not None:  # what it leaves ends with a tile of its own in each part
        of_blocks = of_blocks + np.array([1, PIECES[-1]] * 2)[:, None, None, None] * (parts - 1)
    tiles, keys, hiding_tiles, hidden_keys = of_blocks.sum(axis=(1, 2)) * of_rows  # (blocks)
    if visibility.mask is not None:
        hiding_tiles, hidden_keys = tiles, keys
    stacked, apart = stacks // heads, d.kv_heads // heads
    return Counts(
        tasks=tasks,
        tiles=int(tiles.sum()) * stacked,
        keys=int(keys.sum()) * apart,
        pairs=int(keys @ rows) * apart,
        hiding_tiles=int(hiding_tiles.sum()) * stacked,
        hidden_pairs=int(hidden_keys @ rows) * apart,
    )


def _of_ranges(visibility: Visibility, dimensions: Dimensions, width: int, starts: IntArray) -> IntArray:
    """Tiles, their keys, hiding tiles and theirs, (4, batch rows, 1, blocks of queries): by position and length."""
    d = dimensions
    at = standing(visibility, d)
    low, high = key_range(visibility, d, at)
    sees = np.where(low < high, low, d.keys)
    bounds = (
        np.minimum.reduceat(sees, starts, axis=1),  # what some query of each block sees, from here
        np.maximum.reduceat(high, starts, axis=1),  # to here
        np.maximum.reduceat(low, starts, axis=1),  # and what every one does, from here
        np.minimum.reduceat(high, starts, axis=1),  # to here
    )
    spans = [_span(d, width, *block) for block in zip(*(bound.ravel().tolist() for bound in bounds), strict=True)]
    of_blocks = np.array(spans).T.reshape(4, len(low), 1, len(starts))
    if d.extra_keys:  # in tiles of their own, or with the last keys that were given
        of_extra = -(-d.all_keys // width) - d.keys // width, padded(d.all_keys) - d.keys // width * width
        valid = np.logical_or.reduceat(at.valid, starts, axis=1)[:, None]
        of_blocks = of_blocks + np.array(of_extra * 2)[:, None, None, None] * valid
    return of_blocks


def _span(
    dimensions: Dimensions, width: int, begin: int, end: int, begin_of_all: int, end_of_all: int
) -> tuple[int, int, int, int]:
    """Of one block, without the tiles that hold extra keys."""
    first, after = begin // width, -(-end // width)
    computed = padded(end)  # the last tile ends with the last key that is seen
    clear_after = after if end_of_all == end else end_of_all // width
    if dimensions.extra_keys:
        after = min(after, dimensions.keys // width)
        computed, clear_after = after * width, end_of_all // width
    clear_first, clear_after = max(first, -(-begin_of_all // width)), min(after, clear_after)
    tiles, clear = max(after - first, 0), max(clear_after - clear_first, 0)
    keys = (computed - first * width) * (tiles > 0)
    clear_keys = (min(computed, clear_after * width) - clear_first * width) * (clear > 0)
    return tiles, keys, tiles - clear, keys - clear_keys


def _of_block_map(visibility: Visibility, dimensions: Dimensions, width: int, starts: IntArray) -> IntArray:
    """The same, (4, batch rows, heads, blocks), by what a map leaves to some query, within the ranges of all."""
    d, size = dimensions, visibility.query_block_size
    assert visibility.block_map is not None  # noqa: S101 - asked only when there is one
    attending = np.pad(four_axes(visibility.block_map).cumsum(axis=2), [(0, 0), (0, 0), (1, 0), (0, 0)])
    first, after = starts // size, -(-np.append(starts[1:], d.queries) // size)
    left = attending[:, :, after] - attending[:, :, first]  # how many blocks of queries see each block of keys
    most = (after - first)[:, None]
    if left.shape[1] > 1:  # the query heads of a key and value head have tiles together
        left, most = left.reshape(len(left), d.kv_heads, d.groups, *left.shape[2:]).sum(axis=2), most * d.groups
    begin, end = np.zeros((1, 1, 1, 1), np.int64), np.full((1, 1, 1, 1), d.keys)
    if is_limited(visibility):
        low, high = key_range(visibility, d, standing(visibility, d))
        begin = np.minimum.reduceat(low, starts, axis=1)[:, None, :, None]
        end = end if d.extra_keys else np.maximum.reduceat(high, starts, axis=1)[:, None, :, None]
    step = key_block_size(visibility)
    column = np.arange(left.shape[-1]) * step
    widths = np.maximum(np.minimum(column + step, end) - np.maximum(column, begin), 0)
    seen = ((left > 0) * widths).sum(axis=-1) + d.extra_keys
    tiles, keys = -(-seen // width), padded(seen)
    hides = is_limited(visibility) | ((left > 0) & (left < most)).any(axis=-1)
    return np.array([tiles, keys, tiles * hides, keys * hides])
