"""Texts of many calls in the same packs: continuous batching for encoders, as `generation.engine` is for what writes.

What waits when a thread is free is computed together, up to PACK_TOKENS tokens; no text waits for company. Who came
first is first, but for calls that are more than a pack: these take turns, and after a part of one it is the turn of the
calls that fit, so that neither holds up the other. A text's vector is the same in any company (`Encoder`).
"""

import threading
from collections import deque
from collections.abc import Collection, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

import numpy as np

from qkv_server.core import Cancellation, CancelledError, Later
from qkv_server.transformers.stacks.embedding import PACK_TOKENS, Array, Pooling, normalize, pool
from qkv_server.transformers.stacks.encoder_model import EncoderModel


class _Kind(NamedTuple):
    """How vectors are made of the states of a pack."""

    pooling: Pooling
    normalized: bool

    def vectors(self, states: Array, lengths: Sequence[int]) -> Array:
        """States (N, D) of n texts of these lengths → (n, D)."""
        pooled = pool(states, lengths, self.pooling)
        return normalize(pooled) if self.normalized else pooled


@dataclass(eq=False, slots=True)
class _Call:
    """Texts, and what became of them so far."""

    texts: Sequence[Sequence[int]]  # n, as tokens
    kind: _Kind
    cancellation: Cancellation
    vectors: Array  # (n, D)
    places: list[int]  # of texts that no pack has yet, the longest last
    tokens: int  # of these
    awaited: int  # texts whose vectors are not there
    error: Exception | None = None
    answer: Future[Array] = field(default_factory=Future)

    def take(self, room: int) -> list["_Text"]:
        """The longest texts that no pack has yet, as many as fit into so many tokens; one in any case."""
        taken: list[_Text] = []
        while self.places and (len(self.texts[self.places[-1]]) <= room or not taken):
            text = _Text(self, self.places.pop())
            taken.append(text)
            room -= len(text.tokens)
            self.tokens -= len(text.tokens)
        return taken

    def give_up(self, error: Exception) -> None:
        """Await no more than what packs have."""
        self.error = error
        self.awaited -= len(self.places)
        self.places.clear()

    def tell(self) -> None:
        """Give the answer; nothing is awaited any more."""
        if self.error is not None:
            self.answer.set_exception(self.error)
        else:
            self.answer.set_result(self.vectors)


class _Text(NamedTuple):
    """A text of a call."""

    call: _Call
    place: int

    @property
    def tokens(self) -> Sequence[int]:
        return self.call.texts[self.place]


class EmbeddingQueue:
    """Embeds texts with one model on threads that its callers lend. Its methods may be called from any thread."""

    def __init__(self, model: EncoderModel) -> None:
        self._model = model
        self._lock = threading.Lock()  # of what follows, and of calls; never held while a model computes
        self._waiting: deque[_Call] = deque()  # calls with texts that no pack has
        self._turns = 0  # that were asked for and have not ended
        self._computing = 0  # packs
        self._parted = False  # whether the last pack was a part of a call

    def submit(
        self,
        texts: Sequence[Sequence[int]],
        pooling: Pooling | None = None,
        normalized: bool | None = None,
        *,
        later: Later,
        threads: int = 1,
        cancellation: Cancellation | None = None,
    ) -> Future[Array]:
        """What `EncoderModel.embed` answers, (n, D), when it is there; CancelledError if it is cancelled before.

        `later` runs tasks, which are packs, on some thread of the caller's; so many `threads` are of use. Raises
        ValueError as `embed` does.
        """
        about = self._model.description
        self._model.check(texts)
        places = sorted((place for place, text in enumerate(texts) if len(text)), key=lambda place: len(texts[place]))
        call = _Call(
            texts,
            _Kind(pooling or about.pooling, about.normalized if normalized is None else normalized),
            cancellation or Cancellation(),
            vectors=np.zeros((len(texts), about.hidden_size), np.float32),
            places=places,
            tokens=sum(map(len, texts)),
            awaited=len(places),
        )
        if not places:
            call.tell()
            return call.answer
        with self._lock:
            self._waiting.append(call)
            turns = max(0, min(threads - self._turns, len(places)))
            self._turns += turns
        for _ in range(turns):
            later(partial(self._turn, later, threads))
        return call.answer

    def _turn(self, later: Later, threads: int) -> None:
        """Compute one pack, if there is any; then stand in line again, as long as calls wait."""
        pack = self._take(threads)
        if pack:
            try:
                self._embed(pack)
            except Exception as error:  # noqa: BLE001 - the calls hear of it
                self._settle(pack, error)
            else:
                self._settle(pack, None)
        with self._lock:
            if not self._waiting:
                self._turns -= 1
                return
        later(partial(self._turn, later, threads))

    def _take(self, threads: int) -> list[_Text]:
        """The texts of the next pack, the longest first; no more than the share of each thread that is free."""
        pack: list[_Text] = []
        with self._lock:
            ended = self._drop_cancelled()
            share = -(-sum(call.tokens for call in self._waiting) // max(1, threads - self._computing))
            room = min(PACK_TOKENS, share)
            whole = self._fitting(room)
            self._parted = bool(self._waiting) and not (whole and (self._parted or whole[0] is self._waiting[0]))
            if self._parted:
                pack = self._waiting[0].take(room)
                self._waiting.rotate(-1)
            else:
                pack = [text for call in whole for text in call.take(call.tokens)]
            self._waiting = deque(call for call in self._waiting if call.places)
            self._computing += bool(pack)
        _tell(ended)
        return sorted(pack, key=lambda text: -len(text.tokens))  # those of equal length share products

    def _fitting(self, room: int) -> list[_Call]:
        """The first calls that fit into so many tokens together, whole."""
        fitting = []
        for call in self._waiting:
            if call.tokens <= room:
                room -= call.tokens
                fitting.append(call)
        return fitting

    def _drop_cancelled(self) -> list[_Call]:
        """Give up the calls that nobody waits for; those that have ended by that."""
        cancelled = [call for call in self._waiting if call.cancellation.cancelled]
        self._give_up(cancelled, CancelledError())
        return [call for call in cancelled if not call.awaited]

    def _give_up(self, calls: Collection[_Call], error: Exception) -> None:
        for call in calls:
            call.give_up(error)
        if calls:
            self._waiting = deque(call for call in self._waiting if call.places)

    def _embed(self, pack: Sequence[_Text]) -> None:
        lengths = [len(text.tokens) for text in pack]
        states = self._model.states([text.tokens for text in pack])
        made = {kind: kind.vectors(states, lengths) for kind in {text.call.kind for text in pack}}
        for number, text in enumerate(pack):
            text.call.vectors[text.place] = made[text.call.kind][number]

    def _settle(self, pack: Sequence[_Text], error: Exception | None) -> None:
        """Count what was computed, or could not be, and answer the calls that have ended by that."""
        calls = {text.call for text in pack}
        with self._lock:
            self._computing -= 1
            for text in pack:
                text.call.awaited -= 1
            if error is not None:
                self._give_up(calls, error)
            ended = [call for call in calls if not call.awaited]
        _tell(ended)


def _tell(calls: Iterable[_Call]) -> None:
    for call in calls:
        call.tell()
