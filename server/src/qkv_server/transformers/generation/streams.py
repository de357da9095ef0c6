"""How the streams of each kind of model begin, get room, and end. The engine drives all kinds alike."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, NamedTuple, Protocol, TypeVar

from qkv_server.transformers.generation.prefix_cache import CopyableStream, PrefixCache
from qkv_server.transformers.generation.request import ContextOverflowError, EmptyPromptError
from qkv_server.transformers.stacks.stepping import SteppingModel, Stream

S = TypeVar("S", bound=Stream)
C = TypeVar("C", bound=CopyableStream)

FIRST_ROOM = 128  # tokens of an answer that a stream has room for at first; it doubles when they are used up


class Wanted(NamedTuple):
    """A stream that shall begin: its prompt, and the most tokens of its answer."""

    prompt: Sequence[int]
    most: int


@dataclass(frozen=True, slots=True)
class Beginning(Generic[S]):
    """A stream that has begun, what it has to read before it answers, and how much of its prompt was known."""

    stream: S
    unread: Sequence[int]  # at least one token
    cached: int = 0


class Streams(Protocol[S]):
    """The streams of a model."""

    def room(self, prompt: Sequence[int]) -> int:
        """How many tokens an answer may have. Raises RefusedError for a prompt that leaves none."""

    def usual(self, prompt: Sequence[int]) -> int:
        """How many tokens an answer has at most if nobody says: no more than there is room for."""

    def before(self, prompt: Sequence[int]) -> Sequence[int]:
        """The tokens that an answer continues."""

    def nbytes(self, prompt: Sequence[int], most: int) -> int:
        """The bytes of a stream with an answer of so many tokens: as many more for each, or none."""

    def work(self, prompt: Sequence[int]) -> int:
        """How many tokens are read to begin a stream."""

    def begin(self, wanted: Sequence[Wanted]) -> list[Beginning[S]]:
        """Begin streams."""

    def with_room(self, stream: S, limit: int) -> S:
        """The stream, or its like, with room for one more token at least; it never reads more than `limit`."""

    def end(self, stream: S, ids: Sequence[int]) -> None:
        """Take a stream back that has read the first of these tokens."""


class Decoder(SteppingModel[C], Protocol[C]):
    """A model that `DecoderStreams` can drive: `decoder.DecoderModel`."""

    def new_stream(self, capacity: int) -> C:
        """A stream that has read nothing."""


class DecoderStreams(Generic[C]):
    """Streams that continue their prompt, and begin with what earlier ones have read of it.

    Memory is taken as an answer grows, not for all that it might become.
    """

    def __init__(self, model: Decoder[C], prefix_bytes: int) -> None:
        self._model = model
        self._token_bytes = model.new_stream(1).nbytes
        self._prefixes: PrefixCache[C] = PrefixCache(prefix_bytes)

    def room(self, prompt: Sequence[int]) -> int:
        """What the context has room for behind the prompt."""
        if not prompt:
            raise EmptyPromptError
        room = self._model.context_tokens - len(prompt)
        if room < 1:
            raise ContextOverflowError(
                f"the prompt has {len(prompt)} tokens, the model reads {self._model.context_tokens}, answer included"
            )
        return room

    def usual(self, prompt: Sequence[int]) -> int:
        """As many as there is room for."""
        return self.room(prompt)

    def before(self, prompt: Sequence[int]) -> Sequence[int]:
        """The prompt."""
        return prompt

    def nbytes(self, prompt: Sequence[int], most: int) -> int:
        """Of what it remembers of each token."""
        return self._token_bytes * (len(prompt) + most)

    def work(self, prompt: Sequence[int]) -> int:  # noqa: ARG002 - as the protocol has it
        """None: the engine has the prompt read."""
        return 0

    def begin(self, wanted: Sequence[Wanted]) -> list[Beginning[C]]:
        """Begin each with the longest part of its prompt that is known."""
        return [self._begin(*each) for each in wanted]

    def _begin(self, prompt: Sequence[int], most: int) -> Beginning[C]:
        capacity = len(prompt) + min(most, FIRST_ROOM)
        known = self._prefixes.longest(prompt)
        if known is None:
            return Beginning(self._model.new_stream(capacity), prompt)
        stream, length = known
        return Beginning(stream.copy(length, capacity), prompt[length:], length)

    def with_room(self, stream: C, limit: int) -> C:
        """The stream, or a copy of twice its size."""
        if stream.length < stream.capacity:
            return stream
        return stream.copy(stream.length, min(2 * stream.capacity, limit))

    def end(self, stream: C, ids: Sequence[int]) -> None:
        """Keep the stream for prompts that begin alike."""
        self._prefixes.keep(ids, stream)


class EncoderDecoder(SteppingModel[S], Protocol[S]):
    """A model that `EncoderDecoderStreams` can drive: `encoder_decoder.EncoderDecoderModel`."""

    @property
    def source_tokens(self) -> int:
        """The most tokens of a source."""

    @property
    def prompt_ids(self) -> tuple[int, ...]:
        """What its decoder reads before it answers."""

    def answer_tokens(self, source_tokens: int) -> int:
        """The most tokens of an answer to a source of so many, as the model was made for."""

    def stream_nbytes(self, source_tokens: int, capacity: int) -> int:
        """The bytes of a stream with a source of so many tokens."""

    def start_many(self, sources: Sequence[Sequence[int]], capacities: Sequence[int]) -> list[S]:
        """Streams of sources that are encoded together."""


class EncoderDecoderStreams(Generic[S]):
    """Streams whose prompt is a source, which an encoder reads whole, together with those of others."""

    def __init__(self, model: EncoderDecoder[S]) -> None:
        self._model = model

    def room(self, prompt: Sequence[int]) -> int:
        """What the decoder reads, however long the source."""
        if not prompt:
            raise EmptyPromptError
        if len(prompt) > self._model.source_tokens:
            raise ContextOverflowError(
                f"the text has {len(prompt)} tokens, the model reads {self._model.source_tokens} at a time"
            )
        return self._model.context_tokens - len(self._model.prompt_ids)

    def usual(self, prompt: Sequence[int]) -> int:
        """What the model was made for."""
        return self._model.answer_tokens(len(prompt))

    def before(self, prompt: Sequence[int]) -> Sequence[int]:  # noqa: ARG002 - as the protocol has it
        """What its decoder reads first."""
        return self._model.prompt_ids

    def nbytes(self, prompt: Sequence[int], most: int) -> int:
        """Of what its decoder knows of the source, and of its own tokens."""
        return self._model.stream_nbytes(len(prompt), len(self._model.prompt_ids) + most)

    def work(self, prompt: Sequence[int]) -> int:
        """The source is read to begin."""
        return len(prompt)

    def begin(self, wanted: Sequence[Wanted]) -> list[Beginning[S]]:
        """Encode all sources together, and have all but the last token of what decoders begin with read together."""
        *first, last = self._model.prompt_ids
        capacities = [len(self._model.prompt_ids) + most for _, most in wanted]
        streams = self._model.start_many([prompt for prompt, _ in wanted], capacities)
        for token in first:
            self._model.step(streams, [token] * len(streams))
        return [Beginning(stream, [last]) for stream in streams]

    def with_room(self, stream: S, limit: int) -> S:  # noqa: ARG002 - as the protocol has it
        """The stream, which has had room for its whole answer from the beginning."""
        return stream

    def end(self, stream: S, ids: Sequence[int]) -> None:
        """Let it go: what it has read is of no use to others."""
