"""Self-attention of a decoder that reads one token at a time in each of its streams.

Letters in the shapes: n streams, H heads, Dh head size, D hidden size.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from qkv_server.core import RelativeBias
from qkv_server.core.cached import cached_attention
from qkv_server.core.relative_bias import bias_of_newest
from qkv_server.transformers.layers.key_value_cache import KeyValueCache
from qkv_server.transformers.layers.linear import Linear

Array = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False, slots=True)
class CachedSelfAttention:
    """Queries, keys and values from the decoder; keys and values are remembered."""

    query_key_value: Linear  # (3·H·Dh, D)
    output: Linear  # (D, H·Dh)
    heads: int  # H
    scale: float  # of scores
    bias: RelativeBias | None = None

    def __call__(self, x: Array, memories: Sequence[KeyValueCache], layer: int) -> Array:
        """Read one token in each of n streams: (n, D) → (n, D), and their memories get its key and value."""
        projected = self.query_key_value(x).reshape(len(x), 3, self.heads, 1, -1)
        remembered = [memory.remember(layer, one[1:]) for memory, one in zip(memories, projected, strict=True)]
        query = np.ascontiguousarray(projected[:, 0, :, 0])
        found = np.empty_like(query)
        longest = max(key.shape[1] for key, _ in remembered)
        bias = None if self.bias is None else bias_of_newest(self.bias, longest)
        cached_attention(query, remembered, self.scale, found, bias=bias)
        return self.output(found.reshape(len(x), -1))
