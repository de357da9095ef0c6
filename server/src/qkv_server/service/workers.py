"""A bounded pool of threads for the arithmetic, with a bounded queue before it."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

from google.protobuf.message import Message

from qkv.wire import Draft
from qkv_server.core import Cancellation, Later, Spread, one_after_another, spread_over
from qkv_server.service.errors import OverloadedError

R = TypeVar("R")

RETRY_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Turn:
    """What a call that is at work has: threads that may help it, and whether its answer is still wanted."""

    spread: Spread = one_after_another
    threads: int = 1
    cancellation: Cancellation = field(default_factory=Cancellation)
    later: Later = lambda task: task()  # for what the call leaves to others when its turn is over


@dataclass(frozen=True, slots=True)
class Prepared:
    """A call that was read and admitted. `answer` computes it; where it is tiny, faster than a turn comes.

    `answer` raises ServiceError for a refusal, and core.CancelledError when its turn is cancelled.
    """

    answer: Callable[[Turn], Draft[Message]]
    tiny: bool


class Workers:
    """Runs work on `threads` threads while at most `queue` more calls wait; others are refused at once."""

    def __init__(self, threads: int, queue: int) -> None:
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="qkv-worker")
        self._places = threading.BoundedSemaphore(threads + queue)
        self._queue = queue
        self._threads = threads
        self._spread = spread_over(self._executor, threads - 1)
        self._admitted: set[Future[Any]] = set()

    async def run(self, work: Callable[[Turn], R | Future[R]]) -> R:
        """The result of the work; raises OverloadedError when the queue is full.

        Cancelled while it waits, it never runs; cancelled while it runs, its turn says so, and it keeps its place until
        its thread is free. Work that others finish answers with a future: its thread is free then, and its place when
        the future is done or cancelled.
        """
        if not self._places.acquire(blocking=False):
            raise OverloadedError(self._queue, RETRY_SECONDS)
        turn = Turn(self._spread, self._threads, Cancellation(), self._later)
        future = self._executor.submit(work, turn)
        self._hold(future)
        try:
            result = await asyncio.wrap_future(future)
            return await asyncio.wrap_future(result) if isinstance(result, Future) else result
        except asyncio.CancelledError:
            turn.cancellation.cancel()
            raise

    def close(self) -> bool:
        """Take no more work, drop what waits, and end the threads; whether none is under way.

        Work under way cannot be stopped from outside; its thread ends after it.
        """
        self._executor.shutdown(wait=False, cancel_futures=True)
        idle = not self._admitted
        self._executor.shutdown(wait=idle)
        return idle

    def _later(self, task: Callable[[], None]) -> None:
        with suppress(RuntimeError):  # closed: what waits is dropped
            self._executor.submit(task)

    def _hold(self, future: Future[Any]) -> None:
        self._admitted.add(future)
        future.add_done_callback(self._leave)

    def _leave(self, future: Future[Any]) -> None:
        """Give back the place of a call, unless others finish it."""
        others = None if future.cancelled() or future.exception() else future.result()
        if isinstance(others, Future):
            self._hold(others)
        else:
            self._places.release()
        self._admitted.discard(future)
