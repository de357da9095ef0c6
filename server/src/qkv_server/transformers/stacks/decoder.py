"""Decoder-only stacks: prompts are read in chunks, and many streams step together.

Letters in the shapes: n streams, N tokens that are read, D hidden size, Hq query heads, Hkv key and value heads, Dh
head size, F feed-forward size, V vocabulary.

A stream's logits do not depend on what other streams hold, but their last bits on how many there are: BLAS has kernels
of its own for one row, and for blocks of other sizes. With SmolLM2 (30 layers) and 1 to 20 streams, or a prompt in
chunks of any size, the largest difference was 9e-5, of logits that reach 36.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from qkv_server.transformers.layers.attention import CausalAttention
from qkv_server.transformers.layers.feed_forward import FeedForward
from qkv_server.transformers.layers.halves import Halves
from qkv_server.transformers.layers.input_embedding import InputEmbedding
from qkv_server.transformers.layers.key_value_cache import KeyValueCache
from qkv_server.transformers.layers.linear import Linear
from qkv_server.transformers.layers.normalization import Norm
from qkv_server.transformers.layers.positions import RotaryDescription, rotary_turns
from qkv_server.transformers.stacks.stepping import as_ids, check_room

Array = npt.NDArray[Any]

SHARED_ROWS = 32  # tokens of a chunk from which two threads share them: fewer are bounded by reading weights


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerDescription:
    """In what the layers of one decoder may differ."""

    window: int | None = None  # keys that a query sees, its own included; None: all
    rotary: RotaryDescription | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class DecoderDescription:
    """What tells a decoder from others, beside its parameters: its sizes and choices."""

    architecture: str  # model_type of its config
    vocabulary_size: int  # V
    context_tokens: int
    hidden_size: int  # D
    heads: int  # Hq
    kv_heads: int  # Hkv
    head_size: int  # Dh
    feed_forward_size: int  # F
    norm_epsilon: float
    layers: tuple[LayerDescription, ...]
    scale: float  # of scores
    softcap: float = 0.0  # of scores; 0 is off
    output_softcap: float = 0.0  # of logits; 0 is off
    end_ids: frozenset[int] = frozenset()


@dataclass(frozen=True, eq=False, kw_only=True, slots=True)
class DecoderLayer:
    """x + attention(norm(x)), then x + feed_forward(norm(x)); what is added may be normalized, too."""

    attention_norm: Norm
    attention: CausalAttention
    feed_forward_norm: Norm
    feed_forward: FeedForward
    after_attention_norm: Norm | None = None
    after_feed_forward_norm: Norm | None = None

    def __call__(self, x: Array, streams: Sequence[KeyValueCache], number: int, turns: Array | None) -> None:
        """Read N tokens (N, D) of one stream, or one of each of n, in place; as layer `number` of the stack.

        Of a chunk two threads read half of the tokens each, up to attention and from there on: then not only products
        are shared, and no half waits for the other but there.
        """
        attention = self.attention
        projected = attention.empty_projection(len(x))

        def before(rows: slice) -> None:
            normalized = self.attention_norm(x[rows])
            attention.project(normalized, None if turns is None else turns[rows], out=projected[rows])

        def after(rows: slice) -> None:
            states = x[rows]
            found = attention.output(attended[rows])
            states += found if self.after_attention_norm is None else self.after_attention_norm(found)
            found = self.feed_forward(self.feed_forward_norm(states))
            states += found if self.after_feed_forward_norm is None else self.after_feed_forward_norm(found)

        share: Callable[[Callable[[slice], None]], None] = _whole
        if attention.output.halves is not None and len(streams) == 1 and len(x) >= SHARED_ROWS:
            share = partial(_by_halves, attention.output.halves, len(x) // 2)
        share(before)
        attended = attention.attend(projected, streams, number)
        share(after)


def _whole(work: Callable[[slice], None]) -> None:
    """All rows in this thread, which shares products."""
    work(slice(None))


def _by_halves(halves: Halves, middle: int, work: Callable[[slice], None]) -> None:
    """Half of the rows in each of two threads."""
    halves.run(partial(work, slice(0, middle)), partial(work, slice(middle, None)))


@dataclass(frozen=True, eq=False, kw_only=True, slots=True)
class DecoderModel:
    """A loaded decoder (a `stepping.SteppingModel`)."""

    description: DecoderDescription
    embedding: InputEmbedding
    layers: Sequence[DecoderLayer]
    last_norm: Norm
    output: Linear  # (V, D)

    @property
    def vocabulary_size(self) -> int:
        """V."""
        return self.description.vocabulary_size

    @property
    def context_tokens(self) -> int:
        """The largest capacity of a stream."""
        return self.description.context_tokens

    @property
    def end_ids(self) -> frozenset[int]:
        """The tokens that end an answer."""
        return self.description.end_ids

    def new_stream(self, capacity: int) -> KeyValueCache:
        """A stream that has read nothing and can read so many tokens. Raises ValueError for more than the context."""
        if not 0 < capacity <= self.context_tokens:
            raise ValueError(f"capacity is {capacity}, expected 1 to {self.context_tokens}")
        about = self.description
        return KeyValueCache(len(self.layers), about.kv_heads, about.head_size, capacity)

    def prefill(self, stream: KeyValueCache, ids: Sequence[int]) -> Array:
        """Read some tokens, at least one: the logits (V,) float32 of what follows the last."""
        if not len(ids):
            raise ValueError("there are no tokens to read")
        check_room(stream, len(ids))
        logits: Array = self._read([stream], ids)[0]
        stream.length += len(ids)
        return logits

    def step(self, streams: Sequence[KeyValueCache], ids: Sequence[int]) -> Array:
        """Read one token in each of n streams: logits (n, V) float32."""
        if len(streams) != len(ids):
            raise ValueError(f"there are {len(ids)} tokens for {len(streams)} streams")
        for stream in streams:
            check_room(stream, 1)
        logits = self._read(streams, ids)
        for stream in streams:
            stream.length += 1
        return logits

    def _read(self, streams: Sequence[KeyValueCache], ids: Sequence[int]) -> Array:
        """The logits (n, V) of N tokens of one stream, the last alone, or of one token of each of n."""
        about = self.description
        tokens = as_ids(ids, self.vocabulary_size)
        chunk = np.arange(len(tokens)) if len(streams) == 1 else 0
        places = np.array([stream.length for stream in streams], np.int64) + chunk  # (N,)
        x = self.embedding(tokens, places)
        turns: dict[RotaryDescription | None, Array | None] = {None: None}
        for number, (layer, kind) in enumerate(zip(self.layers, about.layers, strict=True)):
            if kind.rotary is not None and kind.rotary not in turns:
                turns[kind.rotary] = rotary_turns(kind.rotary, places, about.head_size)
            layer(x, streams, number, turns[kind.rotary])
        logits = np.ascontiguousarray(self.output(self.last_norm(x[-len(streams) :])))
        if about.output_softcap:
            logits /= np.float32(about.output_softcap)
            np.tanh(logits, out=logits)
            logits *= np.float32(about.output_softcap)
        return logits
