"""How a decoder's layers attend: project, turn, remember, ask the core, project back.

Letters in the shapes: n streams, N tokens of all of them, D hidden size, Hq query heads, Hkv key and value heads, Dh
head size.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from qkv_server.core import one_after_another
from qkv_server.core.cached import cached_attention, chunk_attention
from qkv_server.transformers.layers.key_value_cache import KeyValueCache
from qkv_server.transformers.layers.linear import Linear
from qkv_server.transformers.layers.normalization import Norm
from qkv_server.transformers.layers.positions import turn

Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False, kw_only=True, slots=True)
class CausalAttention:
    """Attention of new tokens to themselves and to all that their stream remembers, or to the last `window`."""

    query_key_value: Linear  # ((Hq + 2·Hkv)·Dh, D), fused; pairs that are turned together lie side by side
    output: Linear  # (D, Hq·Dh)
    heads: int  # Hq
    kv_heads: int  # Hkv
    scale: float  # of scores
    softcap: float = 0.0  # of scores; 0 is off
    window: int | None = None  # keys that a query sees, its own included; None: all
    query_norm: Norm | None = None  # of each head (Dh,), before it is turned
    key_norm: Norm | None = None

    def empty_projection(self, tokens: int) -> Array:
        """Memory for the queries, keys and values of N tokens: (N, Hq + 2·Hkv, Dh)."""
        heads = self.heads + 2 * self.kv_heads
        return np.empty((tokens, heads, len(self.query_key_value.weight) // heads), np.float32)

    def project(self, x: Array, turns: Array | None, out: Array) -> None:
        """The queries, keys and values of tokens (N, D), in `out` (N, Hq + 2·Hkv, Dh).

        `turns` are those of the tokens' positions (`positions.rotary_turns`), if positions turn heads.
        """
        out.reshape(len(x), -1, copy=False)[...] = self.query_key_value(x)
        query, key = out[:, : self.heads], out[:, self.heads : -self.kv_heads]
        if self.query_norm is not None and self.key_norm is not None:
            self.query_norm(query, out=query)
            self.key_norm(key, out=key)
        if turns is not None:
            turn(out[:, : -self.kv_heads], turns)

    def attend(self, projected: Array, streams: Sequence[KeyValueCache], layer: int) -> Array:
        """Projected tokens (N, Hq + 2·Hkv, Dh) of one stream, or one of each of n streams → (N, Hq·Dh).

        The streams get their keys and values.
        """
        found = np.empty((len(projected), self.heads, projected.shape[2]), np.float32)
        if len(streams) == 1 < len(projected):
            self._chunk(projected, streams[0], layer, found)
        else:
            self._newest(projected, streams, layer, found)
        return found.reshape(len(found), -1)

    def _newest(self, projected: Array, streams: Sequence[KeyValueCache], layer: int, out: Array) -> None:
        """The answers, in `out` (n, Hq, Dh), of one token of each of n streams."""
        remembered = [
            stream.remember(layer, key_value)
            for stream, key_value in zip(streams, self._keys_values(projected)[:, :, :, None], strict=True)
        ]
        query = projected[:, : self.heads]
        cached_attention(query, remembered, self.scale, out, window=self.window, softcap=self.softcap)

    def _chunk(self, projected: Array, stream: KeyValueCache, layer: int, out: Array) -> None:
        """The answers, in `out` (N, Hq, Dh), of N tokens of one stream."""
        spread = one_after_another if self.output.halves is None else self.output.halves.spread
        key, value = stream.remember(layer, self._keys_values(projected).transpose(1, 2, 0, 3))
        query = projected[:, : self.heads]
        chunk_attention(query, key, value, self.scale, out, window=self.window, softcap=self.softcap, spread=spread)

    def _keys_values(self, projected: Array) -> Array:
        """Of projected tokens (N, Hq + 2·Hkv, Dh) the keys and values (N, 2, Hkv, Dh): a view."""
        return projected[:, self.heads :].reshape(len(projected), 2, self.kv_heads, -1, copy=False)
