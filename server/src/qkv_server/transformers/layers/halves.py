"""A second thread for one half of the work: how a decoder uses two cores.

A step is a chain of products that take some hundred microseconds each: too short for an executor, and a trap for the
threads of BLAS. Those wait by spinning, so where other work wants a core each product may take a turn of the scheduler
(measured: 700 ms a step instead of 30); and their number is one for the whole process, the server's workers included.
Here a thread takes its half if it is awake in time. If it is not, the caller computes that half, too.
"""

import threading
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from queue import SimpleQueue

from qkv_server.core import one_after_another

Task = Callable[[], object]


@dataclass(frozen=True, slots=True)
class _Half:
    """A task for whoever comes first."""

    task: Task
    taken: threading.Lock = field(default_factory=threading.Lock)
    ended: "SimpleQueue[Exception | None]" = field(default_factory=SimpleQueue)

    def take(self) -> bool:
        """Whether the caller is the first to come."""
        return self.taken.acquire(blocking=False)


class Halves:
    """Runs two tasks at a time, one in a thread of its own. For one caller at a time: others compute alone."""

    def __init__(self) -> None:
        self._halves: SimpleQueue[_Half | None] = SimpleQueue()
        self._calling = threading.Lock()
        self._thread: threading.Thread | None = None

    def run(self, first: Task, second: Task) -> None:
        """Run both, in any order; raises what they raise."""
        if not self._calling.acquire(blocking=False):
            first()
            second()
            return
        try:
            self._share(first, _Half(second))
        finally:
            self._calling.release()

    def spread(self, tasks: Sequence[Callable[[], None]]) -> None:
        """Run tasks, every other one as the second half (a `core.Spread`)."""
        self.run(partial(one_after_another, tasks[::2]), partial(one_after_another, tasks[1::2]))

    def _share(self, first: Task, half: _Half) -> None:
        if self._thread is None:  # at the first call, so that models without any have no thread
            self._thread = threading.Thread(target=_help, args=(self._halves,), name="qkv-halves", daemon=True)
            self._thread.start()
            weakref.finalize(self, self._halves.put, None)  # the thread ends with the model that it helps
        self._halves.put(half)
        try:
            first()
        finally:
            error = None
            if half.take():
                half.task()
            else:
                error = half.ended.get()
        if error is not None:
            raise error


def _help(halves: "SimpleQueue[_Half | None]") -> None:
    while (half := halves.get()) is not None:
        if half.take():
            try:
                half.task()
            except Exception as error:  # noqa: BLE001 - the caller raises it
                half.ended.put(error)
            else:
                half.ended.put(None)
        del half  # its arrays would live until the next
