"""Which rows need no running maximum: those whose exponentials can neither overflow nor all vanish.

By Cauchy-Schwarz no score of a row exceeds scale·‖q‖·max‖k‖ over the keys that it sees, and its biases add to that.
Each row is judged by what it sees, never by what stands beside it.
"""

import math
from functools import cached_property

import numpy as np

from qkv_server.core.positions import BoolArray
from qkv_server.core.precision import FLOAT32, FLOAT64
from qkv_server.core.problem import Array
from qkv_server.core.tile_scores import TileScores
from qkv_server.core.tiles import Block, Sight

SAFE = 60.0  # natural units: e^±60 times a safe value is a normal float32, and so are sums of 2^20 of these
SAFE_VALUES = {FLOAT32: (2.0**-39, 2.0**20), FLOAT64: (2.0**-900, 2.0**900)}


class SafeRows:
    """Judges the rows of query (B, Hkv, G, L, D) over key and value (B, Hkv, T, …); sinks, if any, in natural units.

    Biases by distance are as large as sequences are long: with these no row is safe.
    """

    def __init__(
        self,
        query: Array,
        key: Array,
        value: Array,
        sinks: Array | None,
        scores_of: TileScores,
        sight: Sight,
        width: int,
    ) -> None:
        self._query, self._value, self._sinks = query, value, sinks
        self._scores_of, self._sight, self._width = scores_of, sight, width
        self._values = SAFE_VALUES[query.dtype]
        self._key_norms = _norms(key)  # (B, Hkv, T)
        self.all = self._are_all()

    def of(self, block: Block) -> BoolArray:
        """Which rows (n, G, r) of a block are safe, each by the keys that it sees."""
        query_norms = _norms(self._query[block.at])
        if self._scores_of.distance_bias:
            return np.zeros(query_norms.shape, bool)
        key_norms, value_sizes, biases = (np.zeros_like(query_norms) for _ in range(3))
        heads = (block.row, block.kv_heads)
        for tile in self._sight.tiles(block, self._width, self._sight.every_key()):
            for largest, of_keys in ((key_norms, self._key_norms), (value_sizes, self._value_sizes)):
                np.maximum(largest, _largest(of_keys[heads][:, None, None, tile.keys], tile.visible), out=largest)
            bias = self._sight.mask_bias(block, tile.keys)
            if bias is not None:
                np.maximum(biases, _largest(np.abs(bias), tile.visible), out=biases)
        sinks = -np.inf if self._sinks is None else self._sinks[block.kv_heads, :, None]
        return self._judge(query_norms, key_norms, value_sizes, biases, sinks)

    @cached_property
    def _value_sizes(self) -> Array:
        """The largest finite |value| of each key, (B, Hkv, T)."""
        sizes: Array = np.abs(self._value).max(axis=3, initial=0)
        if np.isfinite(sizes).all():
            return sizes
        return np.asarray(np.where(np.isfinite(self._value), np.abs(self._value), 0).max(axis=3, initial=0))

    def _are_all(self) -> bool:
        """Whether every row is safe whatever it sees, which costs little to ask."""
        if self._scores_of.distance_bias or not self._are_all_values():
            return False
        query_norms = _norms(self._query).max(axis=(2, 3), initial=0)
        key_norms = self._key_norms.max(axis=2, initial=0)
        sinks = -np.inf if self._sinks is None else self._sinks.max()
        return bool(self._judge(query_norms, key_norms, 0.0, self._sight.largest_mask_bias(), sinks).all())

    def _are_all_values(self) -> bool:
        """Whether every value is safe; norms tell it soonest of ordinary ones, which are no zeros."""
        smallest, largest = self._values
        norms = _norms(self._value)
        floor = 2 * smallest * math.sqrt(self._value.shape[3])
        if norms.min(initial=np.inf) >= floor and norms.max(initial=0) <= largest:
            return True
        return bool(np.all(self._are_safe(self._value_sizes)))

    def _are_safe(self, value_sizes: Array | float) -> BoolArray | bool:
        """Whether values of these sizes are safe: 0, or neither tiny nor huge."""
        smallest, largest = self._values
        return (value_sizes == 0) | ((value_sizes >= smallest) & (value_sizes <= largest))

    def _judge(
        self,
        query_norms: Array,
        key_norms: Array,
        value_sizes: Array | float,
        biases: Array | float,
        sinks: Array | float,
    ) -> BoolArray:
        """Whether rows of these norms, and with these sinks, that see nothing larger are safe."""
        bound = abs(self._scores_of.scale) * query_norms * key_norms
        bound = np.where(key_norms == 0, 0, bound)  # a query that sees nothing is not looked at
        if self._scores_of.softcap:
            bound = np.minimum(bound, self._scores_of.softcap)
        safe: BoolArray = (bound + biases <= SAFE) & (sinks <= SAFE) & self._are_safe(value_sizes)
        return safe


def _norms(x: Array) -> Array:
    """The Euclidean norms of the last axis."""
    norms: Array = np.sqrt(np.vecdot(x, x))
    return norms


def _largest(values: Array, visible: BoolArray | None) -> Array:
    """The largest of the values (…, w) that each row sees; NaN if it sees one."""
    largest: Array = (values if visible is None else np.where(visible, values, 0)).max(axis=-1)
    return largest
