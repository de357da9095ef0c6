"""Encoder-decoders: sources are encoded once, then many streams step together, each with its eyes on its source.

A stream's logits depend on the streams beside it by rounding alone: with Marian's tiny11 and 1 to 64 streams by up to
5e-5, of logits up to 25. The states of a source do not, to the last bit.

Letters in the shapes: N tokens of all sources one after another, n streams, D hidden size, V vocabulary.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from qkv_server.core.precision import FLOAT32
from qkv_server.transformers.layers.cross_attention import CrossAttention, Source
from qkv_server.transformers.layers.feed_forward import FeedForward
from qkv_server.transformers.layers.input_embedding import InputEmbedding
from qkv_server.transformers.layers.normalization import Norm
from qkv_server.transformers.layers.output_layer import OutputLayer
from qkv_server.transformers.stacks.stepping import as_ids, check_room

Array = npt.NDArray[Any]

# Tokens of sources from which on two threads encode them: 128 in 0.7 of the time, 650 in 0.65. Fewer gain less, and
# lose where the second core is busy.
SHARED_TOKENS = 128


class Memory(Protocol):
    """What the layers of a decoder remember of what a stream has read."""

    length: int  # tokens that were read

    @property
    def capacity(self) -> int:
        """The most tokens that it holds."""

    @property
    def nbytes(self) -> int:
        """What it takes when it is full."""


M = TypeVar("M", bound=Memory)
M_contra = TypeVar("M_contra", bound=Memory, contravariant=True)


class Past(Protocol[M_contra]):
    """How a token learns of those before it: `cached_self_attention.CachedSelfAttention`, `ssru.Ssru`."""

    def __call__(self, x: Array, memories: Sequence[M_contra], layer: int) -> Array:
        """Read one token in each of n streams: (n, D) → (n, D), and write what is to be remembered."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EncoderDecoderDescription:
    """What tells an encoder-decoder from others, beside its parameters."""

    architecture: str  # model_type of its config
    vocabulary_size: int  # V
    hidden_size: int  # D
    heads: int
    encoder_layers: int
    decoder_layers: int
    source_tokens: int  # the most of a source
    context_tokens: int  # the most that the decoder reads
    norm_first: bool  # x + f(norm(x)); else norm(x + f(x))
    prompt_ids: tuple[int, ...]  # what the decoder reads before it answers; V is a row of zeros
    end_ids: frozenset[int]
    answer_tokens: int  # the most of an answer, its end included
    answer_ratio: float = math.inf  # the most for each token of the source


@dataclass(frozen=True, eq=False, slots=True)
class DecoderLayer(Generic[M]):
    """What came before, then the source, then feed-forward."""

    past: Past[M]
    past_norm: Norm
    cross: CrossAttention
    cross_norm: Norm
    feed_forward: FeedForward
    feed_forward_norm: Norm


@dataclass(frozen=True, eq=False, slots=True)
class EncoderDecoderStream(Generic[M]):
    """An answer on its way (a `stepping.Stream`)."""

    source: Source
    memory: M

    @property
    def length(self) -> int:
        """Tokens that the decoder has read."""
        return self.memory.length

    @property
    def capacity(self) -> int:
        """The most tokens that it can read."""
        return self.memory.capacity

    @property
    def nbytes(self) -> int:
        """What its memory takes when it is full, the source's included."""
        return self.memory.nbytes + self.source.nbytes


@dataclass(frozen=True, eq=False, kw_only=True, slots=True)
class EncoderDecoderModel(Generic[M]):
    """A loaded encoder-decoder (a `stepping.SteppingModel`)."""

    description: EncoderDecoderDescription
    encoder_embedding: InputEmbedding
    encoder: Callable[[Array, Sequence[int]], Array]  # packed (N, D) of texts of these lengths → (N, D)
    decoder_embedding: InputEmbedding
    layers: Sequence[DecoderLayer[M]]
    last_norm: Norm | None
    output: OutputLayer
    new_memory: Callable[[int], M]  # for so many tokens

    @property
    def vocabulary_size(self) -> int:
        """V."""
        return self.description.vocabulary_size

    @property
    def context_tokens(self) -> int:
        """The largest capacity of a stream."""
        return self.description.context_tokens

    @property
    def source_tokens(self) -> int:
        """The most tokens of a source."""
        return self.description.source_tokens

    @property
    def prompt_ids(self) -> tuple[int, ...]:
        """What `prefill` has to read first in every stream."""
        return self.description.prompt_ids

    @property
    def end_ids(self) -> frozenset[int]:
        """The tokens that end an answer."""
        return self.description.end_ids

    def answer_tokens(self, source_tokens: int) -> int:
        """The most tokens of an answer to a source of so many: what the model was made for."""
        longest, ratio = self.description.answer_tokens, self.description.answer_ratio
        return longest if ratio == math.inf else min(longest, math.ceil(ratio * source_tokens))

    def start(self, source: Sequence[int], capacity: int) -> EncoderDecoderStream[M]:
        """A stream of a source, special tokens included, whose decoder has read nothing and can read so many tokens.

        Raises ValueError for a source of no tokens, or of more than `source_tokens`, and for a capacity of more than
        `context_tokens`.
        """
        return self.start_many([source], [capacity])[0]

    def start_many(self, sources: Sequence[Sequence[int]], capacities: Sequence[int]) -> list[EncoderDecoderStream[M]]:
        """The same of many sources that are encoded together, without padding."""
        for source in sources:
            if not 0 < len(source) <= self.source_tokens:
                raise ValueError(f"a source has {len(source)} tokens, expected 1 to {self.source_tokens}")
        for capacity in capacities:
            if not 0 < capacity <= self.context_tokens:
                raise ValueError(f"capacity is {capacity}, expected 1 to {self.context_tokens}")
        return [
            EncoderDecoderStream(source, self.new_memory(capacity))
            for source, capacity in zip(self._encode_all(sources), capacities, strict=True)
        ]

    def stream_nbytes(self, source_tokens: int, capacity: int) -> int:
        """What a stream takes whose source has so many tokens, when it is full."""
        numbers = source_tokens * sum(len(layer.cross.key_value.weight) for layer in self.layers)
        return numbers * FLOAT32.itemsize + self.new_memory(capacity).nbytes

    def _encode_all(self, sources: Sequence[Sequence[int]]) -> list[Source]:
        """What the decoder knows of sources, encoded together, or in two halves at once if they are long enough."""
        ends = np.cumsum([len(source) for source in sources])
        halves = self.output.halves
        if halves is None or ends[-1] < SHARED_TOKENS or len(sources) == 1:
            return self._encode(sources)
        middle = int(np.abs(2 * ends[:-1] - ends[-1]).argmin()) + 1  # sources before and behind have as many tokens
        first: list[Source] = []
        second: list[Source] = []
        halves.run(
            lambda: first.extend(self._encode(sources[:middle])), lambda: second.extend(self._encode(sources[middle:]))
        )
        return first + second

    def _encode(self, sources: Sequence[Sequence[int]]) -> list[Source]:
        lengths = tuple(map(len, sources))
        ids = as_ids(list(chain.from_iterable(sources)), self.vocabulary_size)
        positions = np.concatenate([np.arange(length) for length in lengths])
        states = self.encoder(self.encoder_embedding(ids, positions), lengths)
        of_layers = [layer.cross.project(states, lengths) for layer in self.layers]
        return [Source(keys_values) for keys_values in zip(*of_layers, strict=True)]

    def prefill(self, stream: EncoderDecoderStream[M], ids: Sequence[int]) -> Array:
        """Read some tokens, at least one: the logits (V,) float32 of what follows the last.

        They are read one by one: what a decoder reads before it answers is a token or two.
        """
        if not len(ids):
            raise ValueError("there are no tokens to read")
        check_room(stream, len(ids))
        as_ids(ids, self.vocabulary_size + 1)
        for token in ids[:-1]:
            self._read([stream], [token])
        logits: Array = self.step([stream], ids[-1:])[0]
        return logits

    def step(self, streams: Sequence[EncoderDecoderStream[M]], ids: Sequence[int]) -> Array:
        """Read one token in each of n streams: logits (n, V) float32."""
        return self.output(self._read(streams, ids))

    def _read(self, streams: Sequence[EncoderDecoderStream[M]], ids: Sequence[int]) -> Array:
        """Read one token in each of n streams: the last hidden states (n, D)."""
        if len(streams) != len(ids):
            raise ValueError(f"there are {len(ids)} tokens for {len(streams)} streams")
        for stream in streams:
            check_room(stream, 1)
        tokens = as_ids(ids, self.vocabulary_size + 1)
        memories = [stream.memory for stream in streams]
        sources = [stream.source for stream in streams]
        x = self.decoder_embedding(tokens, np.array([memory.length for memory in memories]))
        for number, layer in enumerate(self.layers):
            x = self._layer(x, layer, number, memories, sources)
        for memory in memories:
            memory.length += 1
        return x if self.last_norm is None else self.last_norm(x)

    def _layer(
        self, x: Array, layer: DecoderLayer[M], number: int, memories: Sequence[M], sources: Sequence[Source]
    ) -> Array:
        x = self._residual(x, layer.past_norm, lambda states: layer.past(states, memories, number))
        x = self._residual(x, layer.cross_norm, lambda states: layer.cross(states, sources, number))
        return self._residual(x, layer.feed_forward_norm, layer.feed_forward)

    def _residual(self, x: Array, norm: Norm, block: Callable[[Array], Array]) -> Array:
        """A block beside which its input goes on, (n, D) → (n, D)."""
        if self.description.norm_first:
            added: Array = x + block(norm(x))
            return added
        x = x + block(x)
        return norm(x, out=x)
