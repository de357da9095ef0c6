"""Clients that are shared by threads and tasks, and clients that end."""

import asyncio
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import numpy.typing as npt
import pytest
from model_serving import GO, repository
from serving import ServerProcess, stand_in

import qkv

CLOSED = "^the client is closed$"


def question(number: int) -> npt.NDArray[Any]:
    """A query that differs by its number; it is its own answer, since every row is the same."""
    return np.full((3, 4), float(number))


@contextmanager
def silent_server() -> Iterator[tuple[str, threading.Event]]:
    """A server that takes attention calls and does not answer: its target, and when it has taken one."""
    taken, ended = threading.Event(), threading.Event()

    def attend(payload: bytes, _: grpc.ServicerContext) -> bytes:
        taken.set()
        ended.wait(30)
        return payload

    with stand_in(attend) as target:
        try:
            yield target, taken
        finally:
            ended.set()


def test_threads_may_share_a_client(server: ServerProcess) -> None:
    """Eight threads on one new client each get the answers to their own questions."""
    with qkv.Client(server.address) as client, ThreadPoolExecutor(8) as pool:
        start = threading.Barrier(8)

        def ask(thread: int) -> list[Any]:
            start.wait(30)
            return [client.attention(question(10 * thread + number)).output for number in range(10)]

        for thread, outputs in enumerate(pool.map(ask, range(8))):
            for number, output in enumerate(outputs):
                np.testing.assert_allclose(output, question(10 * thread + number), rtol=1e-15)


def test_tasks_may_share_a_client(server: ServerProcess) -> None:
    """Twenty calls under way at once on one asyncio client each get the answer to their own question."""

    async def ask() -> list[qkv.AttentionResult]:
        async with qkv.AsyncClient(server.address) as client:
            return await asyncio.gather(*(client.attention(question(number)) for number in range(20)))

    for number, result in enumerate(asyncio.run(ask())):
        np.testing.assert_allclose(result.output, question(number), rtol=1e-15)


def test_an_answer_outlives_its_client_and_is_read_only(server: ServerProcess) -> None:
    """Arrays of an answer stay what they are after the client is closed, and cannot be written to by accident."""
    with qkv.Client(server.address) as client:
        output = client.attention(question(7)).output
    np.testing.assert_allclose(output, question(7), rtol=1e-15)
    with pytest.raises(ValueError, match="read-only"):
        output[0, 0] = 1


def test_closing_a_client_cancels_its_calls() -> None:
    """A call that waits when another thread closes its client raises CancelledError, a CallError."""
    with silent_server() as (target, taken), ThreadPoolExecutor(1) as pool:
        client = qkv.Client(target)
        asked = pool.submit(client.attention, question(1))
        assert taken.wait(30)
        client.close()
        error = asked.exception(30)
    assert isinstance(error, qkv.CancelledError)
    assert isinstance(error, qkv.CallError)
    assert error.code is grpc.StatusCode.CANCELLED


def test_closing_an_asyncio_client_cancels_its_calls() -> None:
    """A call that waits when another task closes its client raises our CancelledError: its task was not cancelled."""

    async def ask(target: str, taken: threading.Event) -> None:
        client = qkv.AsyncClient(target)
        task = asyncio.create_task(client.attention(question(1)))
        assert await asyncio.to_thread(taken.wait, 30)
        await client.close()
        with pytest.raises(qkv.CancelledError, match=CLOSED):
            await task

    with silent_server() as (target, taken):
        asyncio.run(ask(target, taken))


def test_a_task_that_is_cancelled_while_its_client_closes_is_cancelled() -> None:
    """Closing a client does not hide from asyncio that it cancelled the task."""

    async def ask(target: str, taken: threading.Event) -> None:
        client = qkv.AsyncClient(target)
        task = asyncio.create_task(client.attention(question(1)))
        assert await asyncio.to_thread(taken.wait, 30)
        task.cancel()
        await client.close()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert task.cancelled()

    with silent_server() as (target, taken):
        asyncio.run(ask(target, taken))


def test_cancelling_a_task_cancels_its_call() -> None:
    """A task that is cancelled while it waits ends as asyncio ends it, without an answer."""

    async def ask(target: str, taken: threading.Event) -> None:
        async with qkv.AsyncClient(target) as client:
            task = asyncio.create_task(client.attention(question(1)))
            assert await asyncio.to_thread(taken.wait, 30)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    with silent_server() as (target, taken):
        asyncio.run(ask(target, taken))


def test_a_closed_client_takes_no_calls(server: ServerProcess) -> None:
    """The context manager closes the client; closing it again is nothing, and every call of it is a CancelledError."""
    with qkv.Client(server.address) as client:
        assert client.attention(question(1)).output.shape == (3, 4)
    client.close()
    for call in (lambda: client.attention(question(1)), client.health):
        with pytest.raises(qkv.CancelledError, match=CLOSED) as refused:
            call()
        assert refused.value.code is grpc.StatusCode.CANCELLED


def test_a_closed_asyncio_client_takes_no_calls(server: ServerProcess) -> None:
    """The same for asyncio."""

    async def ask() -> None:
        async with qkv.AsyncClient(server.address) as client:
            assert (await client.attention(question(1))).output.shape == (3, 4)
        await client.close()
        for call in (lambda: client.attention(question(1)), client.health):
            with pytest.raises(qkv.CancelledError, match=CLOSED) as refused:
                await call()
            assert refused.value.code is grpc.StatusCode.CANCELLED

    asyncio.run(ask())


def test_a_client_is_closed_when_its_block_fails(server: ServerProcess) -> None:
    """An exception inside the context manager passes through it and closes the client."""
    client = qkv.Client(server.address)
    with pytest.raises(ZeroDivisionError), client:
        _ = 1 / 0
    with pytest.raises(qkv.CancelledError, match=CLOSED):
        client.health()


def test_a_client_that_was_never_asked_can_be_closed() -> None:
    """A client that is closed before its first call refuses that one too, whether or not there is a server."""
    client = qkv.Client("127.0.0.1:1")
    client.close()
    with pytest.raises(qkv.CancelledError, match=CLOSED):
        client.health()


def test_a_wrong_argument_is_said_before_the_client_is_closed() -> None:
    """A closed client still says what is wrong with the arguments of a call."""
    client = qkv.Client("127.0.0.1:1")
    client.close()
    with pytest.raises(ValueError, match=r"^heads: "):
        client.attention(question(1), heads=0)


def embedded_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith(("qkv-embedded", "qkv-worker"))]


def test_a_local_client_brings_its_server_and_ends_it() -> None:
    """`qkv.local()` answers without a server to be started; closing it stops its server and leaves no thread."""
    with qkv.local(timeout=30) as client:
        assert client.health() is qkv.Health.SERVING
        np.testing.assert_allclose(client.attention(question(2)).output, question(2), rtol=1e-15)
        assert embedded_threads()
        target = client.target
    assert not embedded_threads()
    with qkv.Client(target, retries=False) as other, pytest.raises(qkv.UnavailableError):
        other.health()
    client.close()


def test_local_clients_are_apart() -> None:
    """Two local clients have a server each; ending one leaves the other answering."""
    with qkv.local() as staying:
        with qkv.local() as leaving:
            assert leaving.target != staying.target
        np.testing.assert_allclose(staying.attention(question(3)).output, question(3), rtol=1e-15)


def test_a_local_client_that_cannot_be_made_leaves_no_server() -> None:
    """A misspelt argument is a TypeError, models that are no folder are an error of files, and no thread is left."""
    with pytest.raises(TypeError, match="timeot"):
        qkv.local(timeot=5)
    with pytest.raises(NotADirectoryError, match=r"^models: nowhere is no folder$"):
        qkv.local(models="nowhere")
    assert not embedded_threads()


def test_a_local_client_serves_models(tmp_path: Path) -> None:
    """A folder of models is served, which are ready, or have failed, when `qkv.local()` returns."""
    with qkv.local(models=repository(tmp_path)) as client:
        assert {model.state for model in client.models()} == {"ready", "failed"}
        assert client.embed(["bear"], model="bert").shape == (1, 32)
        assert client.generate(GO, model="llama", max_tokens=3).read().usage.output_tokens == 3
    assert not embedded_threads()


def test_a_local_client_waits_for_its_calls() -> None:
    """Closing a local client whose server computes nothing takes no grace period."""
    client = qkv.local()
    client.attention(question(1))
    started = time.monotonic()
    client.close()
    assert time.monotonic() - started < 4
