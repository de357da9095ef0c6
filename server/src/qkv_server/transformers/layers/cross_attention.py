"""Attention of the streams of a decoder to the sources that an encoder has read.

Letters in the shapes: N tokens of all sources one after another, n streams, S tokens of one source, H heads, Dh head
size, D hidden size.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

import numpy as np
import numpy.typing as npt

from qkv_server.core.cached import cached_attention
from qkv_server.transformers.layers.linear import Linear

Array = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False, slots=True)
class Source:
    """The keys and values of a source, in every layer of the decoder."""

    keys_values: Sequence[Array]  # of each layer (2, H, S, Dh)

    @property
    def nbytes(self) -> int:
        """What they take."""
        return sum(of_layer.nbytes for of_layer in self.keys_values)


@dataclass(frozen=True, eq=False, slots=True)
class CrossAttention:
    """Queries from the decoder, keys and values from the encoder."""

    query: Linear  # (H·Dh, D)
    key_value: Linear  # (2·H·Dh, D): keys and below them values
    output: Linear  # (D, H·Dh)
    heads: int  # H
    scale: float  # of scores

    def project(self, states: Array, lengths: Sequence[int]) -> Iterator[Array]:
        """The states (N, D) of sources of these lengths → of each its keys and values, (2, H, S, Dh)."""
        projected = self.key_value(states).reshape(len(states), 2, self.heads, -1).transpose(1, 2, 0, 3)
        for begin, end in pairwise(accumulate(lengths, initial=0)):
            yield np.ascontiguousarray(projected[:, :, begin:end])  # no view: a source outlives those beside it

    def __call__(self, x: Array, sources: Sequence[Source], layer: int) -> Array:
        """What n streams find in their sources: (n, D) → (n, D)."""
        queries = self.query(x).reshape(len(x), self.heads, -1)
        found = np.empty_like(queries)
        keys_values = [(source.keys_values[layer][0], source.keys_values[layer][1]) for source in sources]
        cached_attention(queries, keys_values, self.scale, found)
        return self.output(found.reshape(len(x), -1))
