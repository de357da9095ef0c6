"""Which tiles of keys a block of queries has to look at, and what is hidden inside them."""

from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import NamedTuple, cast

import numpy as np

from qkv_server.core.dimensions import Dimensions
from qkv_server.core.pieces import Cut, cut
from qkv_server.core.positions import BoolArray, IntArray, Standing, standing
from qkv_server.core.precision import is_floating
from qkv_server.core.problem import Array, Visibility
from qkv_server.core.visibility import attends, four_axes, given_mask, is_limited, key_block_size, key_range, mask_bias

NEAR = 2**15 - 1  # keys of a tile whose places fit in 16 bits
MANY_PAIRS = 2**14  # of a tile, from which on shorter numbers save more than making them takes


class Block(NamedTuple):
    """Some queries of some key and value heads in a batch row: the rows of one task."""

    row: int
    kv_heads: slice
    queries: slice

    @property
    def at(self) -> tuple[int, slice, slice, slice]:
        """Where the block lies in an array (B, Hkv, G, L, …)."""
        return self.row, self.kv_heads, slice(None), self.queries


class Tile(NamedTuple):
    """Some keys, in order, and which pairs with them are visible: None for all, else to (n, G, queries, keys)."""

    keys: slice | IntArray
    width: int
    visible: BoolArray | None
    cut: Cut  # the pieces in which it is computed

    @property
    def padded(self) -> int:
        """The width at which it is computed."""
        end: int = self.cut[-1].stop
        return end


class Sight:
    """What the queries of a problem may see, asked for block by block; in memory never larger than what was sent."""

    def __init__(self, visibility: Visibility, dimensions: Dimensions) -> None:
        self._dimensions = dimensions
        self._visibility = visibility
        self._range: tuple[IntArray, IntArray] | None = None  # None: every query may see every key
        if is_limited(visibility):
            self._range = key_range(visibility, dimensions, self._standing)
        self._mask = given_mask(visibility, dimensions)
        self._map: BoolArray | None = None
        if visibility.block_map is not None:  # the extra keys are a block of their own
            self._map = np.pad(four_axes(visibility.block_map), [(0, 0)] * 3 + [(0, 1)], constant_values=True)

    @cached_property
    def _standing(self) -> Standing:
        return standing(self._visibility, self._dimensions)

    def tiles(self, block: Block, width: int, keys: slice) -> Iterator[Tile]:
        """The tiles within a range of keys that some query of the block sees, in order.

        Tiles begin at multiples of the width, and the last one ends with the last key that the block sees: nothing
        depends on keys that it does not see. With a block map they are the keys that it leaves, cut to that width.
        """
        begin, end = keys.start, min(keys.stop, self._dimensions.all_keys)
        bounds = None
        if self._range is not None:
            low, high = bounds = self._of(self._range[0], block), self._of(self._range[1], block)
            if np.count_nonzero(low):
                given = self._dimensions.keys
                begin = max(begin, int(np.where(low < high, low, given).min(initial=given)))
            if not self._dimensions.extra_keys:
                end = min(end, int(high.max(initial=0)))
        if self._map is None:
            places: Iterable[tuple[int, slice | IntArray]] = [
                (start, slice(start, min(start + width, end))) for start in range(begin // width * width, end, width)
            ]
        else:
            left = self._left_by_map(block, begin, end)
            places = ((start, _as_slice(left[start : start + width])) for start in range(0, len(left), width))
        for first, place in places:
            visible = self._visible(block, place, bounds)
            if visible is None or visible.any():
                count = place.stop - place.start if isinstance(place, slice) else len(place)
                yield Tile(place, count, visible, cut(first, first + count))

    def every_key(self) -> slice:
        """The range of all keys."""
        return slice(0, self._dimensions.all_keys)

    def empty(self, block: Block, width: int, shape: tuple[int, ...]) -> BoolArray:
        """Which rows of a block, of shape (n, G, r), see nothing and are no padding; tiles are of that width."""
        empty: BoolArray = np.zeros(shape, bool)
        if self._dimensions.extra_keys:
            return empty
        if self._mask is None and self._map is None:
            if self._range is None:
                return empty | (self._dimensions.keys == 0)
            return empty | (self.valid(block) & (self._of(self._range[0], block) >= self._of(self._range[1], block)))
        empty |= self.valid(block)
        for tile in self.tiles(block, width, self.every_key()):
            empty &= False if tile.visible is None else ~tile.visible.any(axis=-1)
        return empty

    def valid(self, block: Block) -> BoolArray:
        """Which queries (r) of a block are not padding."""
        return self._of(self._standing.valid, block)

    def position(self, block: Block) -> IntArray:
        """Where the queries (r) of a block stand among the keys."""
        return self._of(self._standing.position, block)

    def mask_bias(self, block: Block, keys: slice | IntArray) -> Array | None:
        """What a floating mask adds to the scores of a block, to (n, G, r, keys); anything where it hides."""
        if self._mask is None or not is_floating(self._mask.dtype):
            return None
        return mask_bias(self.rows_of(self._mask, block)[..., keys], self._dimensions.compute)

    def largest_mask_bias(self) -> float:
        """The largest |bias| of the whole mask, 0 if it has none; NaN if that is one of them."""
        if self._mask is None or not is_floating(self._mask.dtype):
            return 0.0
        smallest = self._mask.min(initial=0, where=self._mask != -np.inf)
        return max(abs(float(smallest)), abs(float(self._mask.max(initial=0))))

    def rows_of(self, mask: Array, block: Block) -> Array:
        """The rows of a mask (B, Hq, L, …), any of whose axes may be 1, for a block: (n or 1, G or 1, r or 1, …)."""
        row = self._heads_of(mask, block)
        return row[:, :, block.queries] if row.shape[2] > 1 else row

    def _heads_of(self, mask: Array, block: Block) -> Array:
        groups = self._dimensions.groups
        row = mask[block.row if mask.shape[0] > 1 else 0]
        if mask.shape[1] == 1:
            heads: Array = row[None]
            return heads
        of_block: Array = row[block.kv_heads.start * groups : block.kv_heads.stop * groups]
        return of_block.reshape(len(of_block) // groups, groups, *row.shape[1:])

    def _of(self, rows: Array, block: Block) -> Array:
        """Of what is known for each query, (B or 1, L), the part of a block."""
        part: Array = rows[block.row if len(rows) > 1 else 0, block.queries]
        return part

    def _left_by_map(self, block: Block, begin: int, end: int) -> IntArray:
        """The keys of a range that the block map leaves to some query of the block."""
        keys = np.arange(begin, end)
        some: BoolArray = np.asarray(self._map_rows(block).any(axis=(0, 1, 2)))
        left: IntArray = keys[some[self._blocks_of(keys)]]
        return left

    def _map_at(self, block: Block, keys: IntArray) -> BoolArray:
        """What the block map says of the queries of a block and some keys: to (n, G, queries, keys)."""
        rows = self._map_rows(block)[..., self._blocks_of(keys)]
        if rows.all():
            return rows[..., :1, :]
        size = self._visibility.query_block_size
        places = np.arange(block.queries.start, block.queries.stop) // size - block.queries.start // size
        attends: BoolArray = rows[:, :, places]
        return attends

    def _map_rows(self, block: Block) -> BoolArray:
        """The rows of the block map for a block: (n or 1, G or 1, blocks of queries, blocks of keys)."""
        assert self._map is not None  # noqa: S101 - asked only when there is one
        size = self._visibility.query_block_size
        rows = slice(block.queries.start // size, (block.queries.stop - 1) // size + 1)
        of_block: BoolArray = self._heads_of(self._map, block)[:, :, rows]
        return of_block

    def _blocks_of(self, keys: IntArray) -> IntArray:
        """The column of the block map of each key."""
        return np.where(keys < self._dimensions.keys, keys // key_block_size(self._visibility), -1)

    def _visible(
        self, block: Block, place: slice | IntArray, bounds: tuple[IntArray, IntArray] | None
    ) -> BoolArray | None:
        visible = None if bounds is None else self._in_range(block, place, *bounds)
        parts: list[BoolArray] = []
        if self._mask is not None:
            parts.append(attends(self.rows_of(self._mask, block)[..., place], self._visibility.mask_polarity))
        if self._map is not None:
            parts.append(self._map_at(block, as_keys(place)))
        for part in parts:
            if not part.all():
                visible = part if visible is None else visible & part
        return visible

    def _in_range(self, block: Block, place: slice | IntArray, low: IntArray, high: IntArray) -> BoolArray | None:
        """Which keys lie in the range of each query, and the extra ones: (1, 1, queries, keys); None for all."""
        keys, given = as_keys(place), self._dimensions.keys
        first, last = int(keys[0]), int(keys[-1])
        if len(keys) * len(high) >= MANY_PAIRS and last - first < NEAR:
            keys, low, high = (_near(places, first, last) for places in (keys, low, high))
            first, last, given = 0, last - first, given - first
        inside: BoolArray | None = keys < high[:, None] if high.min() <= last else None
        if low.max() > first:
            behind = low[:, None] <= keys
            inside = behind if inside is None else inside & behind
        if inside is None:
            return None
        if last >= given:
            inside |= (keys >= given) & self.valid(block)[:, None]
        return inside[None, None]


def _near(places: IntArray, first: int, last: int) -> IntArray:
    """Places from the first on, before it as −1, after the last as one: comparing short numbers is much faster."""
    return cast("IntArray", np.minimum(np.maximum(places - first, -1), last - first + 1).astype(np.int16))


def as_keys(place: slice | IntArray) -> IntArray:
    """The keys of a tile, one by one."""
    return np.arange(place.start, place.stop) if isinstance(place, slice) else place


def _as_slice(keys: IntArray) -> slice | IntArray:
    """The keys as a slice where they follow each other, so that nothing is copied."""
    first, last = int(keys[0]), int(keys[-1])
    return slice(first, last + 1) if last - first == len(keys) - 1 else keys
