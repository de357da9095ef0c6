"""An answer in pieces, from the threads that make them to the event loop that sends them."""

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager
from typing import TypeAlias, TypeVar

from google.protobuf.message import Message

from qkv.wire import Draft

T = TypeVar("T")

Piece: TypeAlias = Draft[Message]


class Pieces(AsyncIterator[Piece]):
    """The pieces of one answer, in order, and what its making holds, which is let go when they are closed.

    Made on the event loop that iterates and closes; the other methods may be called from any thread, also later.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._coming: asyncio.Queue[Piece | Exception | None] = asyncio.Queue()
        self._lock = threading.Lock()  # of what follows
        self._closed = False
        self._endings: list[Callable[[], None]] = []

    def put(self, piece: Piece) -> None:
        """Add a piece."""
        self._add(piece)

    def end(self) -> None:
        """Say that there is no further piece."""
        self._add(None)

    def fail(self, error: Exception) -> None:
        """Say that there is no further piece, because something went wrong; the iteration raises it."""
        self._add(error)

    def keep(self, context: AbstractContextManager[T]) -> T:
        """Enter a context that lasts until the pieces are closed."""
        entered = context.__enter__()
        self.on_close(lambda: _leave(context))
        return entered

    def on_close(self, ending: Callable[[], None]) -> None:
        """Call something when the pieces are closed: now, if they are."""
        with self._lock:
            if not self._closed:
                self._endings.append(ending)
                return
        ending()

    def close(self) -> None:
        """Let go of everything, the last first: nobody waits for further pieces."""
        with self._lock:
            self._closed, endings = True, self._endings
            self._endings = []
        for ending in reversed(endings):
            ending()

    async def __anext__(self) -> Piece:
        coming = await self._coming.get()
        if coming is None:
            raise StopAsyncIteration
        if isinstance(coming, Exception):
            raise coming
        return coming

    def _add(self, coming: Piece | Exception | None) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed, and nobody waits
            self._loop.call_soon_threadsafe(self._coming.put_nowait, coming)


def _leave(context: AbstractContextManager[object]) -> None:
    context.__exit__(None, None, None)
