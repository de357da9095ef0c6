"""Tasks of one problem on several threads, which other problems may need too."""

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from threading import Event, Lock

Task = Callable[[], None]
Spread = Callable[[Sequence[Task]], None]


class CancelledError(Exception):
    """Nobody waits for the answer any more."""


class Cancellation:
    """Says that an answer is not wanted any more; the arithmetic looks at it between tiles."""

    def __init__(self) -> None:
        self._event = Event()

    def cancel(self) -> None:
        """Stop the arithmetic at its next tile."""
        self._event.set()

    def check(self) -> None:
        """Raise CancelledError if the answer is not wanted any more."""
        if self._event.is_set():
            raise CancelledError


def one_after_another(tasks: Sequence[Task]) -> None:
    """Run the tasks in the calling thread."""
    for task in tasks:
        task()


def spread_over(executor: Executor, helpers: int) -> Spread:
    """Run tasks in the calling thread and in up to `helpers` threads of an executor, as they become free.

    The calling thread may be one of the executor's: it never waits for a helper that has not begun, so that problems
    share the threads fairly and never wait for each other.
    """

    def spread(tasks: Sequence[Task]) -> None:
        lock, remaining = Lock(), iter(tasks)

        def work() -> None:
            while True:
                with lock:
                    task = next(remaining, None)
                if task is None:
                    return
                task()

        begun = [executor.submit(work) for _ in range(min(helpers, len(tasks) - 1))]
        try:
            work()
        finally:
            begun = [helper for helper in begun if not helper.cancel()]
        for helper in begun:
            helper.result()

    return spread
