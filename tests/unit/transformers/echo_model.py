"""A model that answers with its prompt, so that whatever a stream mixes up with another is seen in its text.

Tokens are bytes. A prompt ends with MARK; what comes after it is the prompt again, and then END.
"""

import math
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from qkv_server.transformers.generation.engine import Engine, EngineSettings
from qkv_server.transformers.generation.streams import DecoderStreams

MARK, END = 0, 256
VOCABULARY = 257
BYTES_PER_TOKEN = 100


def prompt(text: str) -> tuple[int, ...]:
    return (*text.encode(), MARK)


@dataclass(eq=False)
class EchoStream:
    """The tokens that were read."""

    capacity: int
    ids: list[int] = field(default_factory=list)

    @property
    def length(self) -> int:
        return len(self.ids)

    @property
    def nbytes(self) -> int:
        return self.capacity * BYTES_PER_TOKEN

    def read(self, ids: Sequence[int]) -> None:
        if len(self.ids) + len(ids) > self.capacity:
            raise ValueError(f"{len(self.ids)} tokens and {len(ids)} more do not fit into {self.capacity}")
        self.ids += ids

    def copy(self, length: int, capacity: int) -> "EchoStream":
        assert length <= self.length
        return EchoStream(capacity, self.ids[:length])


class Call(NamedTuple):
    """A call of the model: how many streams it was of, and how many tokens of each."""

    method: str
    streams: int
    tokens: int


class EchoModel:
    """Echoes prompts. `chance` makes other tokens than the next possible, by logits that depend on what was read."""

    vocabulary_size = VOCABULARY
    end_ids = frozenset({END})

    def __init__(self, context_tokens: int = 1000, chance: bool = False) -> None:
        self.context_tokens = context_tokens
        self.chance = chance
        self.calls: list[Call] = []
        self.broken: Exception | None = None  # raised by the next step
        self.not_a_number: bytes | None = None  # a stream whose prompt begins so has logits that are no numbers
        self.turns: threading.Semaphore | None = None  # calls wait for it, if there is one
        self.called = threading.Semaphore(0)  # how many calls have begun to wait

    def new_stream(self, capacity: int) -> EchoStream:
        assert capacity <= self.context_tokens
        return EchoStream(capacity)

    def prefill(self, stream: EchoStream, ids: Sequence[int]) -> NDArray[np.float32]:
        self._turn(Call("prefill", 1, len(ids)))
        stream.read(ids)
        return self._logits(stream)

    def step(self, streams: Sequence[EchoStream], ids: Sequence[int]) -> NDArray[np.float32]:
        self._turn(Call("step", len(streams), 1))
        assert len(set(map(id, streams))) == len(streams)
        if self.broken:
            error, self.broken = self.broken, None
            raise error
        for stream, token in zip(streams, ids, strict=True):
            stream.read([token])
        return np.stack([self._logits(stream) for stream in streams])

    def _turn(self, call: Call) -> None:
        self.called.release()
        if self.turns is not None:
            assert self.turns.acquire(timeout=60)
        self.calls.append(call)

    def _logits(self, stream: EchoStream) -> NDArray[np.float32]:
        logits = np.zeros(VOCABULARY, np.float32)
        if self.not_a_number is not None and bytes(stream.ids[: len(self.not_a_number)]) == self.not_a_number:
            logits[:] = np.nan
        if MARK not in stream.ids:
            return logits
        length = stream.ids.index(MARK)
        answered = stream.length - length - 1
        if self.chance:
            logits[:100] = np.random.default_rng(stream.ids).standard_normal(100)
        logits[stream.ids[answered] if answered < length else END] += 4 if self.chance else 1
        return logits


class Bytes:
    """Writes bytes as text, as byte-level tokenizers do."""

    highest_id = END

    def decode(self, ids: Sequence[int]) -> str:
        return bytes(token for token in ids if token < END).decode(errors="replace")


def engine_of(
    model: EchoModel,
    *,
    streams: int = 4,
    tokens: int = 100_000,
    queue: int = 64,
    chunk: int = 16,
    most: int = 500,
    prefixes: int = 0,
    piece_seconds: float = 0.0,
    double_work_tokens: float = math.inf,
) -> Engine[EchoStream]:
    """An engine with memory for so many tokens of streams."""
    settings = EngineSettings(
        streams=streams,
        stream_bytes=tokens * BYTES_PER_TOKEN,
        queue=queue,
        chunk_tokens=chunk,
        most_tokens=most,
        piece_seconds=piece_seconds,
        double_work_tokens=double_work_tokens,
    )
    return Engine(model, DecoderStreams(model, prefixes), Bytes(), settings)
