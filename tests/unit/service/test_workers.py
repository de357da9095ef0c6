"""The pool of threads: what is refused, what waits, and what never runs."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from functools import partial

import pytest

from qkv_server.service.errors import OverloadedError
from qkv_server.service.workers import Turn, Workers

SECONDS = 60


class Work:
    """Work that says when it runs and then waits to be told to finish."""

    def __init__(self) -> None:
        self.running = threading.Event()
        self.finish = threading.Event()

    def __call__(self, _: Turn) -> str:
        self.running.set()
        assert self.finish.wait(SECONDS)
        return "done"

    async def started(self) -> None:
        assert await asyncio.to_thread(self.running.wait, SECONDS)


@pytest.fixture
def works() -> Iterator[tuple[Work, Work, Work]]:
    """Three pieces of work, which end with the test."""
    three = (Work(), Work(), Work())
    yield three
    for work in three:
        work.finish.set()


def _leave_to_others(answer: Future[str], _: Turn) -> Future[str]:
    return answer


async def begun(workers: Workers, work: Callable[[Turn], str | Future[str]]) -> "asyncio.Task[str]":
    """A task of the work, which has been submitted."""
    task = asyncio.create_task(workers.run(work))
    await asyncio.sleep(0)  # lets the task run as far as it can
    return task


def test_a_call_cancelled_in_the_queue_never_runs(works: tuple[Work, Work, Work]) -> None:
    """A call that is cancelled while it waits is passed over when a worker becomes free."""
    first, cancelled, last = works

    async def scenario() -> None:
        workers = Workers(threads=1, queue=2)
        running = await begun(workers, first)
        await first.started()
        waiting, behind = await begun(workers, cancelled), await begun(workers, last)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        first.finish.set()
        last.finish.set()
        assert list(await asyncio.gather(running, behind)) == ["done", "done"]  # the last ran, so the turn has passed
        assert not cancelled.running.is_set()
        assert workers.close()

    asyncio.run(scenario())


def test_a_call_cancelled_in_the_queue_leaves_its_place(works: tuple[Work, Work, Work]) -> None:
    """The place of a cancelled call in the queue is free for the next one at once."""
    first, cancelled, last = works

    async def scenario() -> None:
        workers = Workers(threads=1, queue=1)
        running = await begun(workers, first)
        waiting = await begun(workers, cancelled)
        with pytest.raises(OverloadedError):
            await workers.run(last)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        behind = await begun(workers, last)
        assert not behind.done()
        first.finish.set()
        last.finish.set()
        assert list(await asyncio.gather(running, behind)) == ["done", "done"]

    asyncio.run(scenario())


def test_a_call_cancelled_while_it_runs_keeps_its_place(works: tuple[Work, Work, Work]) -> None:
    """Arithmetic that goes on keeps others out until its thread is free: what runs is never more than the threads."""
    first, second, _ = works

    async def scenario() -> None:
        workers = Workers(threads=1, queue=0)
        running = await begun(workers, first)
        await first.started()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        with pytest.raises(OverloadedError):
            await workers.run(second)
        first.finish.set()
        second.finish.set()
        while True:  # until the thread is free
            try:
                assert await workers.run(second) == "done"
                break
            except OverloadedError:
                await asyncio.sleep(0)

    asyncio.run(scenario())


def test_a_full_queue_refuses_at_once(works: tuple[Work, Work, Work]) -> None:
    """With threads and queue full the next call is refused, with the length of the queue and when to try again."""
    first, second, third = works

    async def scenario() -> None:
        workers = Workers(threads=1, queue=1)
        admitted = [await begun(workers, first), await begun(workers, second)]
        with pytest.raises(OverloadedError, match=r"the queue of 1 calls is full; try again in 0\.1 s") as refused:
            await workers.run(third)
        assert (refused.value.reason, refused.value.retry_seconds) == ("OVERLOADED", 0.1)
        first.finish.set()
        second.finish.set()
        assert await asyncio.gather(*admitted) == ["done", "done"]
        assert not third.running.is_set()

    asyncio.run(scenario())


def test_threads_work_at_the_same_time(works: tuple[Work, Work, Work]) -> None:
    """Two threads run two calls at once, without a queue."""
    first, second, _ = works

    async def scenario() -> None:
        workers = Workers(threads=2, queue=0)
        both = [await begun(workers, first), await begun(workers, second)]
        await first.started()
        await second.started()
        first.finish.set()
        second.finish.set()
        assert await asyncio.gather(*both) == ["done", "done"]

    asyncio.run(scenario())


def test_an_error_reaches_the_caller_and_leaves_the_place() -> None:
    """What the work raises is raised to its caller, and the place is free again."""

    async def scenario() -> None:
        workers = Workers(threads=1, queue=0)
        for _ in range(3):
            with pytest.raises(ZeroDivisionError):
                await workers.run(lambda _: 1 // 0)
        assert workers.close()

    asyncio.run(scenario())


def test_work_that_others_finish_frees_its_thread_and_keeps_its_place() -> None:
    """A call whose answer others make holds no thread, but counts among those that are admitted until it is made."""

    async def scenario() -> None:
        workers = Workers(threads=1, queue=1)
        answers: list[Future[str]] = [Future(), Future()]
        waiting = [await begun(workers, partial(_leave_to_others, answer)) for answer in answers]
        with pytest.raises(OverloadedError):
            await workers.run(lambda _: "one too many")
        answers[0].set_result("first")
        assert await waiting[0] == "first"
        assert await workers.run(lambda _: "in its place") == "in its place"
        waiting[1].cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting[1]
        assert answers[1].cancelled()
        assert workers.close()

    asyncio.run(scenario())


def test_what_is_left_for_later_comes_behind_what_waits() -> None:
    """A task that work leaves behind runs after the calls that were there; once the pool is closed it never runs."""

    async def scenario() -> None:
        workers = Workers(threads=1, queue=2)
        order: list[str] = []
        done, both_wait = threading.Event(), threading.Event()

        def leave(turn: Turn) -> Turn:
            assert both_wait.wait(SECONDS)
            turn.later(lambda: order.append("left"))
            turn.later(done.set)
            order.append("leaves")
            return turn

        leaving = asyncio.create_task(workers.run(leave))
        behind = asyncio.create_task(workers.run(lambda _: order.append("waited")))
        await asyncio.sleep(0)
        both_wait.set()
        turn = await leaving
        await behind
        assert await asyncio.to_thread(done.wait, SECONDS)
        assert order == ["leaves", "waited", "left"]
        assert workers.close()
        turn.later(lambda: order.append("too late"))
        assert order[-1] == "left"

    asyncio.run(scenario())


def test_closing_says_whether_work_goes_on(works: tuple[Work, Work, Work]) -> None:
    """Closed while work runs, the pool does not wait for it, drops what waits, and says so."""
    first, second, _ = works

    async def scenario() -> None:
        workers = Workers(threads=1, queue=1)
        running = await begun(workers, first)
        await first.started()
        waiting = await begun(workers, second)
        assert not workers.close()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        first.finish.set()
        assert await running == "done"
        assert workers.close()
        assert not second.running.is_set()

    asyncio.run(scenario())
