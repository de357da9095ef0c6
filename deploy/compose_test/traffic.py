"""Calls without end from several callers at once, each answer compared, while something is done to the servers."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

import qkv

CALLERS = 4
SECONDS = 60  # until callers that come to no end are given up
OWN_CONNECTION = [("grpc.use_local_subchannel_pool", 1)]


class Traffic:
    """What came of the calls so far."""

    def __init__(self) -> None:
        self.calls = 0
        self.failures: list[str] = []
        self.stopping = False
        self._change = threading.Condition()

    def go_on(self, calls: int) -> None:
        """Wait for so many more calls."""
        goal = self.calls + calls
        with self._change:
            if not self._change.wait_for(lambda: self.calls >= goal, SECONDS):
                raise RuntimeError(f"less than {calls} calls came to an end in {SECONDS} s")

    def count(self, failure: str | None) -> None:
        """Note a call that was answered, or that failed for a reason."""
        with self._change:
            self.calls += 1
            if failure is not None:
                self.failures.append(failure)
            self._change.notify_all()


@contextmanager
def traffic(target: str) -> Iterator[Traffic]:
    """Callers that call one after another, repeating no call themselves, each by its own connection, for the block."""
    so_far = Traffic()
    callers = [threading.Thread(target=_call, args=(target, so_far, seed)) for seed in range(CALLERS)]
    for caller in callers:
        caller.start()
    try:
        yield so_far
    finally:
        so_far.stopping = True
        for caller in callers:
            caller.join()


def _call(target: str, so_far: Traffic, seed: int) -> None:
    """A call of a few numbers and one of a megabyte, in turn. Whoever answers, the answer is the same to the bit.

    The answers are small: when a part of one has been passed on, no proxy can send the call again.
    """
    random = np.random.default_rng(seed)
    questions = [[random.standard_normal((8, length, 64)) for length in lengths] for lengths in ((1, 1), (1, 256))]
    answers: list[bytes | None] = [None, None]
    with qkv.Client(target, retries=False, timeout=30, options=OWN_CONNECTION) as client:
        turn = 0
        while not so_far.stopping:
            try:
                answer = client.attention(*questions[turn]).output.tobytes()
            except qkv.QkvError as error:
                so_far.count(f"{type(error).__name__}: {error}")
            else:
                expected = answers[turn] = answers[turn] or answer
                so_far.count(None if answer == expected else "an answer that is not the one before")
            turn = 1 - turn
