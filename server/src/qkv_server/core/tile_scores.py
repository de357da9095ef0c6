"""The scores of a block of queries with a tile of keys: scaled, capped, with every bias."""

import math

import numpy as np

from qkv_server.core import products
from qkv_server.core.dimensions import Dimensions
from qkv_server.core.problem import Array, Scoring
from qkv_server.core.products import Factors, Scores
from qkv_server.core.relative_bias import DistanceBias
from qkv_server.core.scratch import scratch
from qkv_server.core.tiles import Block, Sight, Tile, as_keys


def tile_scratch(name: str, scaled: Factors, tile: Tile) -> Array:
    """A working array (n, G·r, W) for the scores of a tile."""
    return scratch(name, (*scaled.high.shape[:-1], tile.padded), scaled.high.dtype)


def keys_of(array: Array, block: Block, tile: Tile) -> Array:
    """The keys or values (n, w, D) of a tile."""
    part: Array = array[block.row, block.kv_heads][:, tile.keys]
    return part


class TileScores:
    """Scores, tile by tile, of query (B, Hkv, G, L, D) and key (B, Hkv, T, D)."""

    def __init__(
        self,
        query: Array,
        key: Array,
        scoring: Scoring,
        dimensions: Dimensions,
        sight: Sight,
    ) -> None:
        self._query, self._key = query, key
        self._dimensions = dimensions
        self._sight = sight
        self.softcap = dimensions.compute.type(scoring.softcap)
        scale = 1 / math.sqrt(dimensions.head_size) if scoring.scale is None else scoring.scale
        self.scale = dimensions.compute.type(scale)
        self._factor = scale / scoring.softcap if self.softcap else scoring.scale
        self.distance_bias = DistanceBias(scoring, dimensions)

    def scaled(self, block: Block) -> Factors:
        """The queries of a block, ready for products: (n, G·r, D)."""
        query = self._query[block.at]
        rows = query.reshape(query.shape[0], -1, query.shape[-1])
        return products.factors(rows, self._factor, scratch("query", rows.shape, rows.dtype))

    def capped(self, scaled: Factors, block: Block, tile: Tile, out: Array, slope: Array | None = None) -> Scores:
        """Scores (n, G·r, W) of all pairs before any bias, the high part in `out`; W is `tile.padded`.

        `slope`, if given, is filled with the derivative of the softcap.
        """
        scores = products.scores(scaled, keys_of(self._key, block, tile), tile.cut, out)
        if self.softcap:
            np.tanh(scores.rounded(), out=scores.high)
            if slope is not None:
                np.subtract(1, scores.high * scores.high, out=slope)
            np.multiply(scores.high, self.softcap, out=scores.high)
            if scores.low is not None:
                scores.low[...] = 0
        return scores

    def biased(self, scaled: Factors, block: Block, tile: Tile, out: Array, slope: Array | None = None) -> Scores:
        """Scores (n, G·r, W) with every bias; hidden pairs, and what is beyond the width of the tile, are noise.

        `out` and `slope` are as for `capped`.
        """
        scores = self.capped(scaled, block, tile, out, slope)
        bias = self._sight.mask_bias(block, tile.keys)
        if bias is None and not self.distance_bias:
            return scores
        high, low = scores
        groups = self._dimensions.groups
        inside = Scores(per_group(high, groups, tile), None if low is None else per_group(low, groups, tile))
        if self.distance_bias:
            products.add(inside, self._distance_bias(block, tile))
        if bias is not None:
            products.add(inside, bias)
        return scores

    def _distance_bias(self, block: Block, tile: Tile) -> Array:
        """The biases by distance of a tile, (n, G, r, w)."""
        groups, given = self._dimensions.groups, self._dimensions.keys
        heads = slice(block.kv_heads.start * groups, block.kv_heads.stop * groups)
        position = self._sight.position(block)
        rows = len(position)
        if isinstance(tile.keys, slice) and tile.keys.stop <= given and (np.diff(position) == 1).all():
            # each row is the one before, a place further: all are windows of one row that is longer
            distances = np.arange(tile.keys.start - position[-1], tile.keys.stop - position[0])
            longer = self.distance_bias.at(distances[None], block.row, heads)
            windows = np.lib.stride_tricks.sliding_window_view(longer, tile.width, axis=-1)[..., ::-1, :]
            return windows.reshape(-1, groups, *windows.shape[2:], copy=False)
        keys = as_keys(tile.keys)
        bias = self.distance_bias.at((keys - position[:, None])[None], block.row, heads)
        return np.where(keys < given, bias, 0).reshape(-1, groups, rows, tile.width)


def per_group(scores: Array, groups: int, tile: Tile) -> Array:
    """Of scores (n, G·r, W) those within the width of the tile, as a view (n, G, r, w)."""
    n, rows, _ = scores.shape
    view: Array = scores[..., : tile.width].reshape(n, groups, rows // groups, tile.width, copy=False)
    return view
