"""Which tiles of keys a block of queries has to look at, and what is hidden inside them."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from qkv_server.core.dimensions import Dimensions
from qkv_server.core.problem import Array, Visibility
from qkv_server.core.visibility import BoolArray, IntArray, key_range, mask_attends, mask_bias, valid_queries


@dataclass(frozen=True, slots=True)
class Block:
    """Some queries of some key and value heads in a batch row: the rows of one task."""

    row: int
    kv_heads: slice
    queries: slice

    @property
    def at(self) -> tuple[int, slice, slice, slice]:
        """Where the block lies in an array (B, Hkv, G, L, …)."""
        return self.row, self.kv_heads, slice(None), self.queries


@dataclass(frozen=True, slots=True)
class Tile:
    """A range of keys, and which pairs in it are visible: None for all, else broadcasting to (n, G, queries, keys)."""

    keys: slice
    visible: BoolArray | None

    @property
    def width(self) -> int:
        """The number of keys."""
        return int(self.keys.stop - self.keys.start)


class Sight:
    """What the queries of a problem may see, asked for block by block; in memory never larger than what was sent."""

    def __init__(self, visibility: Visibility, dimensions: Dimensions) -> None:
        self._dimensions = dimensions
        low, high = key_range(visibility, dimensions)
        rows = (dimensions.batch, dimensions.queries)
        self._low: IntArray = np.broadcast_to(low, rows)
        self._high: IntArray = np.broadcast_to(high, rows)
        self._valid: BoolArray = np.broadcast_to(valid_queries(visibility, dimensions), rows)
        self._mask = None
        if visibility.mask is not None:
            mask = _four_axes(mask_attends(visibility, dimensions))
            extra = [(0, 0)] * 3 + [(0, dimensions.extra_keys)]
            self._mask = np.pad(mask, extra, constant_values=True) if dimensions.extra_keys else mask
        bias = mask_bias(visibility, dimensions, dimensions.compute)
        self.bias = None if bias is None else _four_axes(bias)  # (B, Hq, L, T), any axis of which may be 1

    def tiles(self, block: Block, width: int, keys: slice) -> Iterator[Tile]:
        """The tiles within a range of keys that some query of the block sees, in order.

        Tiles begin at multiples of the width, and the last one ends with the last key that the block sees: nothing
        depends on keys that it does not see.
        """
        low, high = self._low[block.row, block.queries], self._high[block.row, block.queries]
        first = int(np.where(low < high, low, self._dimensions.keys).min(initial=self._dimensions.keys))
        last = self._dimensions.all_keys if self._dimensions.extra_keys else int(high.max(initial=0))
        for begin in range(max(first, keys.start) // width * width, min(last, keys.stop), width):
            tile = slice(begin, min(begin + width, last, keys.stop))
            visible = self._visible(block, tile, low, high)
            if visible is None or visible.any():
                yield Tile(tile, visible)

    def valid(self, block: Block) -> BoolArray:
        """Which queries (r) of a block are not padding."""
        valid: BoolArray = self._valid[block.row, block.queries]
        return valid

    def part(self, mask: Array, block: Block, keys: slice) -> Array:
        """The part of a mask (B, Hq, L, T), any axis of which may be 1, for a block: to (n, G, queries, keys)."""
        groups = self._dimensions.groups
        row = mask[block.row if mask.shape[0] > 1 else 0]
        if mask.shape[1] > 1:
            row = row[block.kv_heads.start * groups : block.kv_heads.stop * groups]
            row = row.reshape(-1, groups, *row.shape[1:])
        else:
            row = row[None]
        if mask.shape[2] > 1:
            row = row[:, :, block.queries]
        part: Array = row[..., keys]
        return part

    def _visible(self, block: Block, tile: slice, low: IntArray, high: IntArray) -> BoolArray | None:
        mask = None if self._mask is None else self.part(self._mask, block, tile)
        if mask is not None and mask.all():
            mask = None
        extra = tile.stop > self._dimensions.keys
        if not extra and (low <= tile.start).all() and (high >= tile.stop).all():
            return mask
        positions = np.arange(tile.start, tile.stop)
        visible = (low[:, None] <= positions) & (positions < high[:, None])  # (queries, keys)
        if extra:
            visible |= (positions >= self._dimensions.keys) & self._valid[block.row, block.queries, None]
        return visible[None, None] if mask is None else visible & mask


def _four_axes(mask: Array) -> Array:
    return mask.reshape((1,) * (4 - mask.ndim) + mask.shape)
