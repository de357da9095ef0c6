"""What a round answers."""

import time
from collections.abc import Callable
from typing import TypedDict, TypeVar

T = TypeVar("T")

THREADS = 2
BATCH = 16  # texts of a batch, for libraries that pad


class Round(TypedDict):
    """How much was done in a second, and what came of it: tokens, a vector, or texts."""

    rate: float
    result: list[object]


def timed(amount: int, work: Callable[[], T], told: Callable[[T], list[object]]) -> Round:
    """One round of work of an amount."""
    start = time.perf_counter()
    result = work()
    return Round(rate=amount / (time.perf_counter() - start), result=told(result))
