"""Tasks of one problem on threads that other problems need too."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Event, Semaphore

import pytest

from qkv_server.core import one_after_another, spread_over

SECONDS = 60


@pytest.mark.parametrize("helpers", [0, 1, 5])
@pytest.mark.parametrize("count", [0, 1, 2, 50])
def test_every_task_runs_once(count: int, helpers: int) -> None:
    """Whatever the number of tasks and helpers, each task has run once when the spread returns."""
    ran: list[int] = []
    tasks: list[Callable[[], None]] = [lambda number=number: ran.append(number) for number in range(count)]  # type: ignore[misc]
    with ThreadPoolExecutor(3) as executor:
        spread_over(executor, helpers)(tasks)
        assert sorted(ran) == list(range(count))
    ran.clear()
    one_after_another(tasks)
    assert ran == list(range(count))


def test_helpers_give_way_to_whoever_came_meanwhile() -> None:
    """A call that comes while another has every thread runs after a turn of its helper, not after all its tasks."""
    allowed, begun, came = Semaphore(0), Semaphore(0), Event()
    unfinished = 20

    def task() -> None:
        nonlocal unfinished
        begun.release()
        assert allowed.acquire(timeout=SECONDS)
        unfinished -= 1

    with ThreadPoolExecutor(2) as executor:
        spread = spread_over(executor, 1, turn_seconds=0)
        first = executor.submit(spread, [task] * unfinished)
        for _ in range(2):  # both threads have a task
            assert begun.acquire(timeout=SECONDS)
        executor.submit(came.set)
        while not came.is_set() and unfinished > 2:
            allowed.release()
            assert begun.acquire(timeout=SECONDS)
        assert came.is_set()
        assert unfinished > 2
        allowed.release(100)
        first.result(SECONDS)


def test_a_call_on_the_only_thread_waits_for_no_helper() -> None:
    """A problem spread from the only thread of an executor over helpers in it ends."""
    ran = []
    with ThreadPoolExecutor(1) as executor:
        executor.submit(spread_over(executor, 3), [lambda: ran.append(1)] * 5).result(SECONDS)
    assert len(ran) == 5


@pytest.mark.parametrize("helpers", [0, 2])
def test_an_error_of_a_task_is_the_error_of_the_spread(helpers: int) -> None:
    """An error in any thread is raised to the caller, and the tasks that nobody needs any more do not run."""
    ran = []

    def fail() -> None:
        raise ZeroDivisionError

    with ThreadPoolExecutor(3) as executor:
        with pytest.raises(ZeroDivisionError):
            spread_over(executor, helpers)([fail] * 3 + [lambda: ran.append(1)] * 1000)
        assert len(ran) < 1000


def test_an_executor_that_takes_no_more_leaves_the_work_to_the_caller() -> None:
    """A problem under way when the executor is shut down is still computed."""
    ran = []
    executor = ThreadPoolExecutor(2)
    executor.shutdown()
    spread_over(executor, 2)([lambda: ran.append(1)] * 5)
    assert len(ran) == 5
