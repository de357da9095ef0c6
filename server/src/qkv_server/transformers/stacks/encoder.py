"""Encoder stacks on packed tokens: the rows of all texts one after another, without padding.

Letters in the shapes: N tokens of all texts, D hidden size, H heads, Dh head size, L tokens of one text.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from qkv_server.core import Problem, Quantity, RelativeBias, Scoring, attention
from qkv_server.core.packed import packed_attention
from qkv_server.core.precision import FLOAT32
from qkv_server.core.scratch import scratch
from qkv_server.transformers.layers.feed_forward import FeedForward
from qkv_server.transformers.layers.linear import Linear
from qkv_server.transformers.layers.normalization import Norm
from qkv_server.transformers.layers.row_blocks import row_blocks

Array = npt.NDArray[np.float32]

FEWEST_ROWS = 16  # of a product: among fewer, a BLAS computes a row by other kernels, with other roundings


@dataclass(frozen=True, eq=False, slots=True)
class SelfAttention:
    """Attention of each text to itself."""

    query_key_value: Linear  # (3·H·Dh, D)
    output: Linear  # (D, H·Dh)
    heads: int  # H
    scale: float  # of scores
    bias: RelativeBias | None = None

    def __call__(self, x: Array, lengths: Sequence[int]) -> Array:
        """(N, D) of texts of these lengths → (N, D)."""
        query, key, value = self._project(x)
        found = scratch("attention of an encoder", query.shape, FLOAT32)
        packed_attention(query, key, value, lengths, self.scale, found, self.bias)
        return self.output(found.reshape(len(x), -1))

    def maps(self, x: Array, heads: Sequence[int]) -> Array:
        """The weights of each query over the keys, (L, D) of one text → (h, L, L) of these heads."""
        query, key, value = (part.swapaxes(0, 1)[None] for part in self._project(x))
        problem = Problem(
            query=query,
            key=key,
            value=value,
            scoring=Scoring(scale=self.scale, relative_bias=self.bias),
            outputs=frozenset({Quantity.WEIGHTS}),
        )
        weights = attention(problem).weights
        assert weights is not None  # noqa: S101 - they were asked for
        return weights[0, list(heads)]

    def _project(self, x: Array) -> tuple[Array, Array, Array]:
        """(N, D) → query, key and value (N, H, Dh), which last until the next."""
        layer = self.query_key_value
        projected = layer.product(x, scratch("projections of an encoder", (len(x), len(layer.weight)), FLOAT32))
        if layer.bias is not None:
            projected += layer.bias
        query, key, value = projected.reshape(len(x), 3, self.heads, -1).swapaxes(0, 1)
        return query, key, value


@dataclass(frozen=True, eq=False, slots=True)
class EncoderLayer:
    """Attention, then feed-forward."""

    attention: SelfAttention
    attention_norm: Norm
    feed_forward: FeedForward
    feed_forward_norm: Norm


@dataclass(frozen=True, eq=False, slots=True)
class Encoder:
    """A stack of layers: x + f(norm(x)) for each block f if the norm comes first, else norm(x + f(x)).

    What becomes of a text does not depend on the others, to the last bit where the BLAS computes a row of a product
    alike among few and many rows from FEWEST_ROWS on (OpenBLAS does for SkylakeX, sizes in multiples of 16).
    """

    layers: Sequence[EncoderLayer]
    norm_first: bool = False
    last_norm: Norm | None = None

    def __call__(
        self, x: Array, lengths: Sequence[int], watch: Callable[[int, Array], None] = lambda _layer, _x: None
    ) -> Array:
        """(N, D) of texts of these lengths → (N, D); x may be overwritten.

        `watch` sees what enters each layer, (N, D), and with the number of layers what leaves the last.
        """
        tokens = len(x)
        if tokens < FEWEST_ROWS:
            x = np.concatenate((x, np.zeros((FEWEST_ROWS - tokens, x.shape[1]), np.float32)))
            lengths = (*lengths, FEWEST_ROWS - tokens)
        for number, layer in enumerate(self.layers):
            watch(number, x[:tokens])
            self._add(x, partial(layer.attention, lengths=lengths), layer.attention_norm)
            self._add(x, layer.feed_forward, layer.feed_forward_norm)
        if self.last_norm is not None:
            for rows in row_blocks(*x.shape):
                self.last_norm(x[rows], out=x[rows])
        watch(len(self.layers), x[:tokens])
        return x[:tokens]

    def maps(self, layer: int, x: Array, heads: Sequence[int]) -> Array:
        """The attention maps (h, L, L) of some heads of a layer, which one text (L, D) enters (see `watch`)."""
        block = self.layers[layer]
        return block.attention.maps(block.attention_norm(x) if self.norm_first else x, heads)

    def _add(self, x: Array, block: Callable[[Array], Array], norm: Norm) -> None:
        """One block of a layer on (N, D), in place."""
        if self.norm_first:
            normalized = scratch("normalized states", x.shape, FLOAT32)
            for rows in row_blocks(*x.shape):
                norm(x[rows], out=normalized[rows])
            x += block(normalized)
            return
        found = block(x)
        for rows in row_blocks(*x.shape):
            x[rows] += found[rows]
            norm(x[rows], out=x[rows])
