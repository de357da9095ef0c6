"""Which rows need no running maximum: those whose exponentials can neither overflow nor all vanish.

By Cauchy-Schwarz no score of a row exceeds scale·‖q‖·max‖k‖ over the keys that it sees, and its biases add to that.
Each row is judged by what it sees, never by what stands beside it.
"""

from typing import NamedTuple

import numpy as np

from qkv_server.core.positions import BoolArray
from qkv_server.core.precision import FLOAT32, FLOAT64
from qkv_server.core.problem import Array
from qkv_server.core.tile_scores import TileScores
from qkv_server.core.tiles import Block, Sight

SAFE = 60.0  # natural units: e^±60 times a safe value is a normal float32, and so are sums of 2^20 of these
SAFE_VALUES = {FLOAT32: (2.0**-39, 2.0**20), FLOAT64: (2.0**-900, 2.0**900)}


class _Seen(NamedTuple):
    """The largest that rows see."""

    key_norms: Array
    value_sizes: Array
    biases: Array


class SafeRows:
    """Judges the rows of query (B, Hkv, G, L, D) over key and value (B, Hkv, T, …); sinks are in natural units.

    Biases by distance are as large as sequences are long: with these no row is safe.
    """

    def __init__(
        self, query: Array, key: Array, value: Array, sinks: Array, scores_of: TileScores, sight: Sight, width: int
    ) -> None:
        self._query, self._sinks = query, sinks
        self._scores_of, self._sight, self._width = scores_of, sight, width
        self._values = SAFE_VALUES[query.dtype]
        self._key_norms = _norms(key)  # (B, Hkv, T)
        self._value_sizes = np.abs(value).max(axis=3, initial=0)  # (B, Hkv, T)
        if not np.isfinite(self._value_sizes).all():
            self._value_sizes = np.where(np.isfinite(value), np.abs(value), 0).max(axis=3, initial=0)
        self.all = self._are_all()

    def of(self, block: Block) -> BoolArray:
        """Which rows (n, G, r) of a block are safe, each by the keys that it sees."""
        query_norms = _norms(self._query[block.at])
        if self._scores_of.distance_bias:
            return np.zeros(query_norms.shape, bool)
        seen = _Seen(*(np.zeros_like(query_norms) for _ in range(3)))
        heads = (block.row, block.kv_heads)
        for tile in self._sight.tiles(block, self._width, self._sight.every_key()):
            for largest, of_keys in ((seen.key_norms, self._key_norms), (seen.value_sizes, self._value_sizes)):
                np.maximum(largest, _largest(of_keys[heads][:, None, None, tile.keys], tile.visible), out=largest)
            bias = self._sight.mask_bias(block, tile.keys)
            if bias is not None:
                np.maximum(seen.biases, _largest(np.abs(bias), tile.visible), out=seen.biases)
        return self._judge(query_norms, seen, self._sinks[block.kv_heads, :, None])

    def _are_all(self) -> bool:
        """Whether every row is safe whatever it sees, which costs little to ask."""
        if self._scores_of.distance_bias:
            return False
        largest = _Seen(
            key_norms=self._key_norms.max(axis=2, initial=0),
            value_sizes=self._value_sizes.max(axis=2, initial=0),
            biases=np.asarray(self._sight.largest_mask_bias()),
        )
        if self._value_sizes.min(initial=np.inf, where=self._value_sizes > 0) < self._values[0]:
            return False
        query_norms = _norms(self._query).max(axis=(2, 3), initial=0)
        return bool(self._judge(query_norms, largest, self._sinks.max()).all())

    def _judge(self, query_norms: Array, seen: _Seen, sinks: Array | float) -> BoolArray:
        """Whether rows of these norms, and with these sinks, that see nothing larger are safe."""
        bound = np.abs(self._scores_of.scale) * query_norms * seen.key_norms
        bound = np.where(seen.key_norms == 0, 0, bound)  # a query that sees nothing is not looked at
        if self._scores_of.softcap:
            bound = np.minimum(bound, self._scores_of.softcap)
        smallest, largest = self._values
        values = (seen.value_sizes == 0) | ((seen.value_sizes >= smallest) & (seen.value_sizes <= largest))
        safe: BoolArray = (bound + seen.biases <= SAFE) & (sinks <= SAFE) & values
        return safe


def _norms(x: Array) -> Array:
    """The Euclidean norms of the last axis."""
    norms: Array = np.sqrt(np.einsum("...d,...d->...", x, x))
    return norms


def _largest(values: Array, visible: BoolArray | None) -> Array:
    """The largest of the values (…, w) that each row sees; NaN if it sees one."""
    largest: Array = (values if visible is None else np.where(visible, values, 0)).max(axis=-1)
    return largest
