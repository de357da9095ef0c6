"""An answer that nobody waits for any more is not computed to its end."""

import asyncio
import contextlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Any

import grpc
import numpy as np
import pytest
from serving import SECONDS, ServerProcess

import qkv
from qkv_server import core

ONE_AT_A_TIME = ["--workers", "1", "--queue", "0"]
MINUTES_OF_WORK = np.ones((400_000, 8), np.float32)  # 1.6·10¹¹ scores

# Minutes of work for a reference that holds every score: values that are not finite are added one key at a time.
QUERY, KEY = np.ones((1, 8, 512, 1), np.float32), np.ones((1, 1, 4000, 1), np.float32)
VALUE, D_OUTPUT = np.full((1, 1, 4000, 1024), np.nan, np.float32), np.ones((1, 8, 512, 1024), np.float32)

Ask = Callable[..., Any]
MINUTES: dict[str, Ask] = {
    "attend": lambda client, **options: client.attention(MINUTES_OF_WORK, **options),
    "differentiate": lambda client, **options: client.differentiate(MINUTES_OF_WORK, MINUTES_OF_WORK, **options),
    "attend by the reference": lambda client, **options: client.attention(
        QUERY, KEY, VALUE, path="reference", **options
    ),
    "differentiate by the reference": lambda client, **options: client.differentiate(
        D_OUTPUT, QUERY, KEY, VALUE, path="reference", **options
    ),
}


def until_answered(client: qkv.Client) -> None:
    """Ask until the only worker is free; it would not be for minutes if it had gone on."""
    for _ in range(10 * SECONDS):
        with contextlib.suppress(qkv.UnavailableError):  # overloaded
            client.attention([[1.0, 2.0]], timeout=SECONDS)
            return
        Event().wait(0.1)
    raise AssertionError("the worker went on with a call that was given up")


@pytest.mark.parametrize("ask", MINUTES.values(), ids=MINUTES)
def test_a_passed_deadline_frees_the_worker(ask: Ask) -> None:
    """The only worker takes the next call soon after the deadline of one that would have taken minutes."""
    with ServerProcess(ONE_AT_A_TIME) as server, qkv.Client(server.address, retries=False) as client:
        with pytest.raises(qkv.DeadlineExceededError):
            ask(client, timeout=1)
        until_answered(client)


@pytest.mark.parametrize("ask", MINUTES.values(), ids=MINUTES)
def test_a_cancelled_call_frees_the_worker(ask: Ask) -> None:
    """The only worker takes the next call soon after its caller gave up one that would have taken minutes."""

    async def give_up(address: str) -> None:
        async with qkv.AsyncClient(address, retries=False) as client:
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(ask(client), 1)

    with ServerProcess(ONE_AT_A_TIME) as server, qkv.Client(server.address, retries=False) as client:
        asyncio.run(give_up(server.address))
        until_answered(client)


@pytest.mark.parametrize("path", core.Path)
@pytest.mark.parametrize("helpers", [0, 2])
def test_the_arithmetic_stops_before_its_next_tile(path: core.Path, helpers: int) -> None:
    """Cancelled before it begins, no path computes a tile of an answer or of gradients, alone or with helpers."""
    problem = core.Problem(query=np.ones((1, 1, 4, 2)), path=path)
    cancellation = core.Cancellation()
    cancellation.cancel()
    with ThreadPoolExecutor(3) as executor:
        turn = core.spread_over(executor, helpers), 3, cancellation
        with pytest.raises(core.CancelledError):
            core.solve(problem, core.check(problem), *turn)
        with pytest.raises(core.CancelledError):
            core.solve_gradients(problem, core.check(problem), problem.query, *turn)


def test_other_calls_go_on(server: ServerProcess) -> None:
    """A call that is given up takes nothing from one beside it."""
    with qkv.Client(server.address) as client, ThreadPoolExecutor(1) as aside:
        given_up = aside.submit(client.attention, MINUTES_OF_WORK, timeout=1)
        answer = client.attention(np.ones((64, 8), np.float32))
        assert (answer.output == 1).all()
        error = given_up.exception(SECONDS)
        assert isinstance(error, qkv.DeadlineExceededError)
        assert error.code is grpc.StatusCode.DEADLINE_EXCEEDED
