"""Long texts, answered part by part: several parts are worked on at a time, and their answers are told as one."""

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from qkv_server.transformers.generation.engine import Engine, Handle
from qkv_server.transformers.generation.joining import JoinedAnswers
from qkv_server.transformers.generation.request import (
    Event,
    Failed,
    Finished,
    FinishReason,
    GenerationRequest,
    OnEvent,
    Piece,
    Usage,
)


@dataclass(frozen=True, slots=True)
class DocumentPart:
    """A part of a text, and the white space that follows it; without a request, white space alone."""

    request: GenerationRequest | None
    space: str


def submit_document(engine: Engine[Any], parts: Sequence[DocumentPart], on_event: OnEvent) -> Handle:
    """Have all parts answered, and tell it as one answer, with the white space of the text between those to its parts.

    A document takes one place of the engine, and more of its streams than that as they are free. A document without
    requests is told at once, in this thread. Raises RefusedError if a part is refused; then nothing is done. Whatever
    goes wrong later, also in `on_event`, is told as Failed, and ends the document.
    """
    for part in parts:
        if part.request is not None:
            engine.most(part.request)
    document = _Document(engine, parts, on_event)
    document.begin()
    return Handle(document.cancel)


class _Document:
    """A document under way. All but `begin` and `cancel` happens in the thread of the engine, if there are requests."""

    def __init__(self, engine: Engine[Any], parts: Sequence[DocumentPart], on_event: OnEvent) -> None:
        self._engine = engine
        self._requests = [(number, part.request) for number, part in enumerate(parts) if part.request is not None]
        self._empty = [number for number, part in enumerate(parts) if part.request is None]
        self._answers = JoinedAnswers([part.space for part in parts])
        self._finished: dict[int, Finished] = {}  # by part
        self._on_event = on_event
        self._arrived = time.monotonic()
        self._lock = threading.Lock()  # of what follows
        self._submitted = 0  # requests from the first on
        self._handles: dict[int, Handle] = {}  # of the requests under way, by part
        self._cancelled = False

    def begin(self) -> None:
        """Tell the white space at the beginning, and submit the first request; what comes of it submits the others."""
        text = "".join(self._answers.end(number) for number in self._empty)
        if not self._requests:
            self._end(text)
            return
        if text:
            self._on_event(Piece(text))
        self._submit(abreast=1)

    def cancel(self) -> None:
        """Cancel all requests."""
        with self._lock:
            self._cancelled = True
            handles = list(self._handles.values())
        for handle in handles:
            handle.cancel()

    def _submit(self, abreast: int) -> None:
        """Submit requests until so many are under way."""
        with self._lock:
            while len(self._handles) < abreast and self._submitted < len(self._requests) and not self._cancelled:
                number, request = self._requests[self._submitted]
                receive = partial(self._receive, number)
                self._handles[number] = self._engine.submit(request, receive, part=self._submitted > 0)
                self._submitted += 1

    def _receive(self, number: int, event: Event) -> None:
        """Take an event of the answer to a part."""
        try:
            self._take(number, event)
        except Exception as error:  # noqa: BLE001 - whoever waits for the answer hears of it
            self._fail(error)

    def _take(self, number: int, event: Event) -> None:
        if isinstance(event, Failed):
            self._fail(event.error)
            return
        if isinstance(event, Finished):
            with self._lock:
                del self._handles[number]
            self._finished[number] = event
        self._submit(self._engine.settings.streams)
        if isinstance(event, Piece):
            text = self._answers.add(number, event.text)
        else:
            text = self._answers.add(number, event.rest.text) + self._answers.end(number)
        if len(self._finished) == len(self._requests):
            self._end(text)
        elif text:
            self._on_event(Piece(text))

    def _fail(self, error: Exception) -> None:
        self.cancel()
        self._on_event(Failed(error))

    def _end(self, text: str) -> None:
        """Tell the end of the answer, and the last text of it."""
        cut = any(finished.reason is FinishReason.LENGTH for finished in self._finished.values())
        usages = [finished.usage for _, finished in sorted(self._finished.items())]
        total = Usage(
            input_tokens=sum(usage.input_tokens for usage in usages),
            cached_tokens=sum(usage.cached_tokens for usage in usages),
            output_tokens=sum(usage.output_tokens for usage in usages),
            queue_seconds=usages[0].queue_seconds if usages else 0.0,
            first_token_seconds=usages[0].first_token_seconds if usages else 0.0,
            total_seconds=time.monotonic() - self._arrived,
        )
        self._on_event(Finished(FinishReason.LENGTH if cut else FinishReason.END, total, rest=Piece(text)))
