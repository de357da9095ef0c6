"""Tasks of one problem on several threads, which other problems may need too."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future, wait
from contextlib import suppress
from threading import Lock

TURN_SECONDS = 0.01  # standing in line costs a few per cent of a task, waiting for a helper this much at most

Task = Callable[[], None]
Spread = Callable[[Sequence[Task]], None]
Later = Callable[[Task], object]  # runs a task behind those that wait for a thread already


class CancelledError(Exception):
    """Nobody waits for the answer any more."""


class Cancellation:
    """Says that an answer is not wanted any more; the arithmetic looks at it between tiles."""

    def __init__(self) -> None:
        self._cancelled = False

    def cancel(self) -> None:
        """Stop the arithmetic at its next tile."""
        self._cancelled = True

    @property
    def cancelled(self) -> bool:
        """Whether the answer is not wanted any more."""
        return self._cancelled

    def check(self) -> None:
        """Raise CancelledError if the answer is not wanted any more."""
        if self._cancelled:
            raise CancelledError


def one_after_another(tasks: Sequence[Task]) -> None:
    """Run the tasks in the calling thread."""
    for task in tasks:
        task()


def spread_over(executor: Executor, helpers: int, turn_seconds: float = TURN_SECONDS) -> Spread:
    """Run tasks in the calling thread and in up to `helpers` threads of an executor, as they become free.

    The calling thread may be one of the executor's: it never waits for a helper that has not begun. A helper works for
    `turn_seconds`, at least one task, and then stands in line again, behind whatever came meanwhile, so that problems
    share the threads fairly.
    """

    def spread(tasks: Sequence[Task]) -> None:
        lock, remaining = Lock(), iter(tasks)
        helping: list[Future[None]] = []

        def take() -> Task | None:
            with lock:
                return next(remaining, None)

        def stand_in_line() -> None:
            with suppress(RuntimeError):  # the executor takes no more: the calling thread does the rest
                helping.append(executor.submit(help_for_a_turn))

        def help_for_a_turn() -> None:
            end = time.monotonic() + turn_seconds
            while (task := take()) is not None:
                task()
                if time.monotonic() >= end:
                    stand_in_line()
                    return

        for _ in range(min(helpers, len(tasks) - 1)):
            stand_in_line()
        try:
            while (task := take()) is not None:
                task()
        finally:
            while take() is not None:  # after an error nobody needs the rest
                pass
            begun = _not_cancelled(helping)
        for helper in begun:
            helper.result()

    return spread


def _not_cancelled(helping: list["Future[None]"]) -> list["Future[None]"]:
    """Cancel the helpers that have not begun and wait for the others, also for those who stood in line again."""
    begun = []
    while helping:
        helper = helping.pop()
        if not helper.cancel():
            wait((helper,))
            begun.append(helper)
    return begun
