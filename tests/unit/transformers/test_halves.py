"""Two halves of a product are both computed, whoever computes them."""

import gc
import threading

import pytest

from qkv_server.transformers.layers.halves import Halves


def test_both_tasks_have_run_when_run_returns() -> None:
    """Over many calls neither task is lost or run twice."""
    halves, done = Halves(), [0, 0]

    def count(place: int) -> None:
        done[place] += 1

    for call in range(2000):
        halves.run(lambda: count(0), lambda: count(1))
        assert done == [call + 1, call + 1]


def test_the_second_task_runs_beside_the_first() -> None:
    """A first task that waits for the second one comes to its end."""
    halves, met = Halves(), threading.Barrier(2, timeout=30)
    halves.run(met.wait, met.wait)
    assert not met.broken


def test_a_caller_that_comes_while_another_is_served_computes_alone() -> None:
    """A call from within a call runs both of its tasks in its own thread."""
    halves, threads = Halves(), []

    def note() -> None:
        threads.append(threading.get_ident())

    def first() -> None:
        halves.run(note, note)

    halves.run(first, lambda: None)
    assert threads == [threading.get_ident()] * 2


@pytest.mark.parametrize("failing", [0, 1])
def test_what_a_task_raises_is_raised_after_both(failing: int) -> None:
    """An error of either task reaches the caller, and the next call works."""
    halves = Halves()
    met = threading.Barrier(2, timeout=30)

    def task(place: int) -> None:
        met.wait()
        if place == failing:
            raise MemoryError

    with pytest.raises(MemoryError):
        halves.run(lambda: task(0), lambda: task(1))
    halves.run(met.wait, met.wait)
    assert not met.broken


def test_the_thread_ends_with_its_halves() -> None:
    """When nobody holds the halves any more, their thread ends."""
    halves, ident = Halves(), []
    met = threading.Barrier(2, timeout=30)

    def note() -> None:
        met.wait()
        ident.append(threading.current_thread())

    halves.run(note, note)
    (helper,) = set(ident) - {threading.current_thread()}
    assert helper.is_alive()
    del halves
    gc.collect()
    helper.join(timeout=30)
    assert not helper.is_alive()
