"""The blocks of encoder-decoders, built from tensors that have one shape in all layers.

Letters in the shapes: D hidden size, H heads, Dh head size, F feed-forward size.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from qkv_server.core import RelativeBias
from qkv_server.transformers.families.parameters import linear
from qkv_server.transformers.files import Weights
from qkv_server.transformers.layers.activations import Activation
from qkv_server.transformers.layers.cached_self_attention import CachedSelfAttention
from qkv_server.transformers.layers.cross_attention import CrossAttention
from qkv_server.transformers.layers.feed_forward import FeedForward
from qkv_server.transformers.layers.linear import Linear
from qkv_server.transformers.layers.normalization import Norm
from qkv_server.transformers.stacks.encoder import SelfAttention


@dataclass(frozen=True, eq=False, kw_only=True, slots=True)
class Blocks:
    """What the blocks of an encoder, or of a decoder, have in common. Its methods raise ModelFileError."""

    weights: Weights
    norm: Callable[[str], Norm]  # by the name of its tensors
    hidden_size: int  # D
    heads: int  # H
    head_size: int  # Dh
    feed_forward_size: int  # F
    activation: Activation
    projections: tuple[str, str, str, str]  # what query, key, value and output are called
    scale: float  # of scores
    biased: bool  # whether linear layers have a bias
    many_rows: bool  # whether they see many rows at a time: those of an encoder

    def self_attention(self, name: str, bias: RelativeBias | None = None) -> SelfAttention:
        """Self-attention of an encoder."""
        joined = self._into(name, self.projections[:3], self.many_rows)
        return SelfAttention(joined, self._out(name), self.heads, self.scale, bias)

    def cached_self_attention(self, name: str, bias: RelativeBias | None = None) -> CachedSelfAttention:
        """Self-attention of a decoder."""
        joined = self._into(name, self.projections[:3], self.many_rows)
        return CachedSelfAttention(joined, self._out(name), self.heads, self.scale, bias)

    def cross_attention(self, name: str) -> CrossAttention:
        """Attention of a decoder to the encoder, whose many rows make keys and values."""
        query = self._into(name, self.projections[:1], self.many_rows)
        key_value = self._into(name, self.projections[1:3], many_rows=True)
        return CrossAttention(query, key_value, self._out(name), self.heads, self.scale)

    def feed_forward(self, inner: Sequence[str], outer: str) -> FeedForward:
        """Plain with one inner layer; with two gated, the gate first."""
        into = self._linear(inner, self.hidden_size, self.feed_forward_size, self.many_rows)
        out = self._linear([outer], self.feed_forward_size, self.hidden_size, self.many_rows)
        return FeedForward(into, out, self.activation, gated=len(inner) == 2)

    def _into(self, name: str, projections: Sequence[str], many_rows: bool) -> Linear:
        names = [f"{name}.{projection}" for projection in projections]
        return self._linear(names, self.hidden_size, self.heads * self.head_size, many_rows)

    def _out(self, name: str) -> Linear:
        names = [f"{name}.{self.projections[3]}"]
        return self._linear(names, self.heads * self.head_size, self.hidden_size, self.many_rows)

    def _linear(self, names: Sequence[str], in_size: int, out_size: int, many_rows: bool) -> Linear:
        return linear(self.weights, names, in_size, out_size, biased=self.biased, many_rows=many_rows)
