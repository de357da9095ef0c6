"""How a decoder's layers attend: project, turn, remember, ask the core, project back.

Letters in the shapes: n streams, N tokens of all of them, D hidden size, Hq query heads, Hkv key and value heads, Dh
head size.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from qkv_server.core import Alignment, Problem, Scoring, Visibility, check, one_after_another, solve
from qkv_server.core.cached import cached_attention
from qkv_server.transformers.layers.cache import KeyValueCache
from qkv_server.transformers.layers.linear import Linear
from qkv_server.transformers.layers.norm import Norm
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

    def __call__(self, x: Array, streams: Sequence[KeyValueCache], layer: int, turns: Array | None) -> Array:
        """(N, D) → (N, D): the tokens of one stream, or one token of each of n streams, which get keys and values.

        `turns` are those of the tokens' positions (`positions.rotary_turns`), if positions turn heads.
        """
        projected = np.ascontiguousarray(self.query_key_value(x)).reshape(len(x), self.heads + 2 * self.kv_heads, -1)
        query, key = projected[:, : self.heads], projected[:, self.heads : -self.kv_heads]
        if self.query_norm is not None and self.key_norm is not None:
            self.query_norm(query, out=query)
            self.key_norm(key, out=key)
        if turns is not None:
            turn(projected[:, : -self.kv_heads], turns)
        keys_values = projected[:, self.heads :].reshape(len(x), 2, self.kv_heads, -1)
        if len(streams) == 1 < len(x):
            found = self._chunk(query, keys_values, streams[0], layer)
        else:
            found = self._newest(query, keys_values, streams, layer)
        return self.output(found.reshape(len(x), -1))

    def _newest(self, query: Array, keys_values: Array, streams: Sequence[KeyValueCache], layer: int) -> Array:
        """The answers (n, Hq, Dh) of one query (n, Hq, Dh) of each stream."""
        remembered = []
        for stream, key_value in zip(streams, keys_values[:, :, :, None], strict=True):
            remembered.append(stream.remember(layer, key_value))
        found = np.empty(query.shape, query.dtype)
        cached_attention(query, remembered, self.scale, found, window=self.window, softcap=self.softcap)
        return found

    def _chunk(self, query: Array, keys_values: Array, stream: KeyValueCache, layer: int) -> Array:
        """The answers (N, Hq, Dh) of the queries (N, Hq, Dh) of one stream."""
        keys, values = stream.remember(layer, keys_values.transpose(1, 2, 0, 3))
        begin = 0 if self.window is None else max(0, stream.length + 1 - self.window)
        problem = Problem(
            query=query.swapaxes(0, 1)[None],
            key=keys[None, :, begin:],
            value=values[None, :, begin:],
            visibility=Visibility(
                causal=True,
                alignment=Alignment.BOTTOM_RIGHT,
                window_left=None if self.window is None else self.window - 1,
            ),
            scoring=Scoring(scale=self.scale, softcap=self.softcap),
        )
        halves = self.output.halves
        spread, threads = (one_after_another, 1) if halves is None else (halves.spread, 2)
        found: Array = solve(problem, check(problem), spread, threads).output[0].swapaxes(0, 1)
        return found
