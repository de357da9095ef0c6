"""What is done in a turn: streams begin, read a chunk of their prompts, and take a step together.

All of it happens in the thread of the engine.
"""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, TypeVar

from qkv_server.transformers.generation.answer import Answer
from qkv_server.transformers.generation.request import Event, Failed, Finished, GenerationRequest, OnEvent, Usage
from qkv_server.transformers.generation.sampling import Logits
from qkv_server.transformers.generation.streams import Streams, Wanted
from qkv_server.transformers.stacks.stepping import SteppingModel, Stream

log = logging.getLogger(__name__)

S = TypeVar("S", bound=Stream)

LEAST_CHUNK = 32  # tokens of prompts that are read between two steps: fewer take hardly less time


@dataclass(slots=True, eq=False)
class Running(Generic[S]):
    """A request on its way: it waits, reads its prompt, and answers."""

    request: GenerationRequest
    on_event: OnEvent
    answer: Answer
    most: int  # tokens of the answer
    nbytes: int  # that its stream takes at its longest
    arrived: float  # on the clock of time.monotonic, as the two below
    begun: float = 0.0
    answered: float = 0.0  # when its first token came
    told: float = 0.0  # when something of its answer was told
    stream: S | None = None  # once it has begun to read
    unread: Sequence[int] = ()  # of what it has to read before it answers
    cached: int = 0  # tokens that it did not have to read
    cancelled: bool = False


class Turns(Generic[S]):
    """Works on requests. `leave` takes a request out, before its last event is told.

    Chosen are the first `vocabulary_size` tokens.
    """

    def __init__(
        self,
        model: SteppingModel[S],
        streams: Streams[S],
        leave: Callable[[Running[S]], None],
        *,
        chunk_tokens: int,
        double_work_tokens: float,
        piece_seconds: float,
        vocabulary_size: int,
    ) -> None:
        self._model = model
        self._streams = streams
        self._leave = leave
        self._chunk_tokens = chunk_tokens
        self._double_work_tokens = double_work_tokens
        self._piece_seconds = piece_seconds
        self._vocabulary_size = vocabulary_size

    def take(self, requests: Sequence[Running[S]]) -> None:
        """Take a turn, in which each request comes a step further or waits for those before it."""
        self._begin([running for running in requests if running.stream is None])
        self._read([running for running in requests if len(running.unread) > 1])
        self._step([running for running in requests if len(running.unread) < 2])

    def give_back(self, running: Running[S]) -> None:
        """Let the stream of a request go, if it has begun."""
        if running.stream is not None:
            self._streams.end(running.stream, [*running.request.prompt, *running.answer.ids])
            running.stream = None

    def tell(self, running: Running[S], event: Event) -> None:
        """Tell an event of a request, unless it was cancelled; it is cancelled if nobody takes it."""
        if running.cancelled:
            return
        try:
            running.on_event(event)
        except Exception:
            log.exception("the receiver of a generation failed, which ends it")
            running.cancelled = True

    def _begin(self, requests: Sequence[Running[S]]) -> None:
        """Begin streams, as many as one chunk allows."""
        beginning: list[Running[S]] = []
        work = 0
        for running in requests:
            work += self._streams.work(running.request.prompt)
            if beginning and work > self._chunk_tokens:
                break
            beginning.append(running)
        if beginning:
            with self._failing(*beginning):
                begun = self._streams.begin([Wanted(one.request.prompt, one.most) for one in beginning])
                for running, one in zip(beginning, begun, strict=True):
                    running.stream, running.unread, running.cached = one.stream, one.unread, one.cached

    def _read(self, requests: Sequence[Running[S]]) -> None:
        """Read one chunk of a prompt, or several that are no more than one together.

        What is read of a prompt at a time depends on the prompt alone. A single token that is left of one is read in
        step with the other streams.
        """
        read = 0.0  # of a chunk
        for running in requests:
            if running.stream is None:
                return
            most = self._chunk(running.stream)
            ids = running.unread[:most]
            if read and read + len(ids) / most > 1:
                return
            with self._failing(running):
                logits = self._model.prefill(running.stream, ids)
                read += len(ids) / most
                running.unread = running.unread[len(ids) :]
                if not running.unread:
                    self._advance(running, logits)

    def _chunk(self, stream: S) -> int:
        """The tokens of the next chunk of a prompt: the fewer, the more there is to attend to, for the same work."""
        tokens = int(self._chunk_tokens / (1 + stream.length / self._double_work_tokens))
        return max(tokens, min(LEAST_CHUNK, self._chunk_tokens))

    def _step(self, requests: Sequence[Running[S]]) -> None:
        """One token more of each stream that has read its prompt, or all but the last token of it."""
        ready: list[Running[S]] = []
        streams: list[S] = []
        for running in requests:
            if running.stream is not None:
                with self._failing(running):
                    limit = len(running.request.prompt) + running.most
                    running.stream = self._streams.with_room(running.stream, limit)
                    streams.append(running.stream)
                    ready.append(running)
        if ready:
            with self._failing(*ready):
                ids = [running.unread[0] if running.unread else running.answer.ids[-1] for running in ready]
                logits = self._model.step(streams, ids)
                # of all at once: a call for each would let other threads go first each time
                largest = logits[:, : self._vocabulary_size].argmax(axis=1).tolist()
                for running, row, likeliest in zip(ready, logits, largest, strict=True):
                    running.unread = ()
                    with self._failing(running):
                        self._advance(running, row, likeliest)

    def _advance(self, running: Running[S], logits: Logits, likeliest: int | None = None) -> None:
        """Take the next token of an answer, and tell what comes of it."""
        answer = running.answer
        answer.take(logits, likeliest)
        now = time.monotonic()
        running.answered = running.answered or now
        if answer.reason:
            self._leave(running)
            self.give_back(running)
            self.tell(running, Finished(answer.reason, _usage(running), answer.seed, answer.piece()))
        elif now - running.told >= self._piece_seconds:
            piece = answer.piece()
            if piece.text or piece.tokens:
                running.told = now
                self.tell(running, piece)

    @contextmanager
    def _failing(self, *requests: Running[S]) -> Iterator[None]:
        """Whatever goes wrong within is the last event of these requests, and of no others."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 - whoever hears of it knows what to do with it
            for running in requests:
                self._leave(running)
                running.stream = None  # nobody knows what it has read
                self.tell(running, Failed(error))


def _usage(running: Running[S]) -> Usage:
    return Usage(
        input_tokens=len(running.request.prompt),
        cached_tokens=running.cached,
        output_tokens=len(running.answer.ids),
        queue_seconds=running.begun - running.arrived,
        first_token_seconds=running.answered - running.begun,
        total_seconds=time.monotonic() - running.arrived,
    )
