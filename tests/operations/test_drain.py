"""SIGTERM: calls under way are answered, new ones are refused, and the process ends with status 0."""

import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
import pytest
from serving import SECONDS, ServerProcess

import qkv
from qkv_server.embedded import EmbeddedServer
from qkv_server.service.attend import attend
from qkv_server.service.calls import METHODS
from qkv_server.service.workers import Prepared, Turn

from .conftest import GO_ON, UNDER_WAY, Held

QUESTION = [[1.0, 2.0]]


def ask(server: ServerProcess) -> list[list[float]]:
    with qkv.Client(server.address, retries=False, timeout=SECONDS) as client:
        output: list[list[float]] = client.attention(QUESTION).output.tolist()
        return output


@contextmanager
def slowed(address: str) -> Iterator[str]:
    """Where a client reaches a server that it hears at 4 MB/s, over buffers that hold little."""
    host, _, port = address.rpartition(":")
    with (
        socket.create_server(("127.0.0.1", 0)) as listening,
        socket.socket() as server,
        ThreadPoolExecutor() as threads,
    ):
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**16)
        server.connect((host, int(port)))

        def serve() -> None:
            client, _ = listening.accept()
            with client:
                threads.submit(pass_on, client, server)
                pass_on(server, client, bytes_per_second=4e6)

        threads.submit(serve)
        yield f"127.0.0.1:{listening.getsockname()[1]}"


def pass_on(source: socket.socket, target: socket.socket, bytes_per_second: float = float("inf")) -> None:
    """Copy one direction of a connection until it ends."""
    with suppress(OSError):
        while data := source.recv(2**14):
            target.sendall(data)
            time.sleep(len(data) / bytes_per_second)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)


def test_arithmetic_under_way_is_finished(held: Held, aside: ThreadPoolExecutor) -> None:
    """A call of a second or so, that the server is computing when it is told to end, is answered; status 0."""
    server = held([])
    assert server.process.stdin is not None
    server.process.stdin.close()  # so that it holds no call, only says when it computes one
    query = np.random.default_rng(0).standard_normal((4096, 8))
    with qkv.Client(server.address, retries=False, timeout=SECONDS) as client:
        slow = aside.submit(client.attention, query, scale=0)
        server.wait_for(UNDER_WAY)
        server.terminate()
        expected = np.broadcast_to(query.mean(axis=0), query.shape)
        np.testing.assert_allclose(slow.result(SECONDS).output, expected, atol=1e-12)
    assert server.stop() == 0
    assert server.log.rstrip().endswith(": stopped")


def test_a_slow_client_gets_the_whole_of_its_answer(held: Held, aside: ThreadPoolExecutor) -> None:
    """An answer that is still on its way when the last call ends arrives before the connection is closed; status 0."""
    server = held([])
    query = np.random.default_rng(0).standard_normal((4096, 64))
    with slowed(server.address) as address, qkv.Client(address, retries=False, timeout=SECONDS) as client:
        call = aside.submit(client.attention, query, scale=0)
        server.wait_for(UNDER_WAY)
        server.terminate()
        server.wait_for("draining")
        server.write(GO_ON)
        expected = np.broadcast_to(query.mean(axis=0), query.shape)
        np.testing.assert_allclose(call.result(SECONDS).output, expected, atol=1e-12)
    assert server.stop() == 0


def test_all_that_was_admitted_is_answered(held: Held, aside: ThreadPoolExecutor) -> None:
    """Calls under way and calls in the queue are all answered, however long the drain takes."""
    server = held(["--workers", "2", "--queue", "2"])
    calls = {aside.submit(ask, server) for _ in range(5)}
    done, admitted = wait(calls, SECONDS, FIRST_COMPLETED)
    (refused,) = done  # which says that all the others have their places
    assert isinstance(refused.exception(), qkv.UnavailableError)
    server.terminate()
    server.wait_for("draining")
    for _ in admitted:
        server.write(GO_ON)
    assert [call.result(SECONDS) for call in admitted] == [QUESTION] * 4
    assert server.stop() == 0


def test_new_calls_are_refused(held: Held, aside: ThreadPoolExecutor) -> None:
    """While the last call is under way, a new one is refused unrun, on its connection and on a new one."""
    server = held(["--workers", "2"])
    with qkv.Client(server.address, retries=False, timeout=SECONDS) as connected:
        last = aside.submit(connected.attention, QUESTION)
        server.wait_for(UNDER_WAY)
        server.terminate()
        while connected.health() == qkv.Health.SERVING:  # until the server has begun to stop
            pass
        for refused in (lambda: connected.attention(QUESTION), lambda: ask(server)):
            with pytest.raises(qkv.UnavailableError, match="the server is stopping"):
                refused()
        server.write(GO_ON)
        assert last.result(SECONDS).output.tolist() == QUESTION
    assert server.stop() == 0
    assert server.log.count(UNDER_WAY) == 1


def test_a_call_that_outlasts_the_grace_is_ended(held: Held, aside: ThreadPoolExecutor) -> None:
    """After --grace-seconds the caller is told UNAVAILABLE, and the process ends though its arithmetic would not."""
    server = held(["--grace-seconds", "0.1"])
    call = aside.submit(ask, server)
    server.wait_for(UNDER_WAY)
    server.terminate()
    with pytest.raises(qkv.UnavailableError, match="the server is stopping"):
        call.result(SECONDS)
    assert server.stop() == 0
    assert "giving up on what took longer than 0.1 s" in server.log


@pytest.mark.parametrize("name", [signal.SIGTERM, signal.SIGINT])
def test_an_idle_server_ends_on_either_signal(name: signal.Signals) -> None:
    """SIGTERM, and Ctrl-C, end a server without calls with status 0 and without a traceback."""
    with ServerProcess() as server:
        server.process.send_signal(name)
        assert server.process.wait(SECONDS) == 0
    assert "Traceback" not in server.log


def test_an_embedded_server_answers_what_is_under_way(
    aside: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopping a server in this process finishes its calls; stopping it twice is once."""
    under_way, go_on = threading.Event(), threading.Event()

    def held_attend(*arguments: Any) -> Prepared:
        prepared = attend(*arguments)

        def answer(turn: Turn) -> Any:
            under_way.set()
            assert go_on.wait(SECONDS)
            return prepared.answer(turn)

        return Prepared(answer, tiny=False)

    monkeypatch.setitem(METHODS, "Attend", METHODS["Attend"]._replace(prepare=held_attend))
    server = EmbeddedServer.start()
    with qkv.Client(server.address, retries=False) as client:
        call = aside.submit(client.attention, QUESTION)
        assert under_way.wait(SECONDS)
        stopping = aside.submit(server.stop)
        go_on.set()
        stopping.result(SECONDS)
        assert call.result(SECONDS).output.tolist() == QUESTION
        server.stop()
        with pytest.raises(qkv.UnavailableError):
            client.attention(QUESTION)


EARLY = """
import os, signal, sys

class Finder:
    @staticmethod
    def find_spec(name, path, target=None):
        if name == "qkv_server.command":
            os.kill(os.getpid(), signal.SIGTERM)

sys.meta_path.insert(0, Finder)
from qkv_server.__main__ import main
main()
"""


def test_a_signal_that_comes_while_it_starts_is_heard() -> None:
    """SIGTERM ends the command by its own handler from the first, as process 1 of a container needs; status 143."""
    ended = subprocess.run([sys.executable, "-c", EARLY, "serve"], capture_output=True, timeout=SECONDS, check=False)
    assert (ended.returncode, ended.stderr) == (128 + signal.SIGTERM, b"")
