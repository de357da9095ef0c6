"""What is made of a result that is not there yet."""

from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

A = TypeVar("A")
B = TypeVar("B")


def followed(future: Future[A], make: Callable[[A], B]) -> Future[B]:
    """What is made of the future's result, in the thread that has it; it fails as either does."""
    made: Future[B] = Future()

    def follow(done: Future[A]) -> None:
        if not made.set_running_or_notify_cancel():
            return
        try:
            made.set_result(make(done.result()))
        except Exception as error:  # noqa: BLE001 - who waits raises it
            made.set_exception(error)

    future.add_done_callback(follow)
    return made
