"""Servers for tests: the real command in a process of its own, on a free loopback port."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Self

import grpc

SECONDS = 60  # until a test that waits gives up


class ServerProcess:
    """`qkv-server serve` in a process. `addresses` are where it listens; `log` is what it has said so far.

    `program` is what Python runs instead of the command's own module.
    """

    def __init__(
        self,
        arguments: Sequence[str] = (),
        *,
        addresses: Sequence[str] = ("127.0.0.1:0",),
        environment: dict[str, str] | None = None,
        program: Sequence[str] = ("-m", "qkv_server"),
    ) -> None:
        command = [sys.executable, *program, "serve", *arguments]
        for address in addresses:
            command += ["--address", address]
        environment = {**os.environ, **(environment or {})}
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
        )
        self.log = ""
        self._said = threading.Condition()
        self._silent = False
        self._stopping = False
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.addresses: list[str] = []
        for count in range(len(addresses) or len(environment["QKV_ADDRESS"].split())):
            self.wait_for("serving on ", count + 1)
        self.addresses = re.findall(r"serving on (\S+)", self.log)

    @property
    def address(self) -> str:
        return self.addresses[0]

    def wait_for(self, text: str, times: int = 1) -> None:
        """Wait until the server has said something that often; raises RuntimeError with its log if it does not."""
        with self._said:
            self._said.wait_for(lambda: self.log.count(text) >= times or self._silent, SECONDS)
        if self.log.count(text) < times:
            self.kill()
            raise RuntimeError(f"the server did not say {text!r}:\n{self.log}")

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            with self._said:
                self.log += line
                self._said.notify_all()
        with self._said:
            self._silent = True
            self._said.notify_all()

    def write(self, text: str) -> None:
        """Send something to the standard input of the program."""
        assert self.process.stdin is not None
        self.process.stdin.write(text)
        self.process.stdin.flush()

    def terminate(self) -> None:
        """Ask it to drain and end, once: a second signal could hit a process that handles none any more."""
        if not self._stopping:
            self._stopping = True
            self.process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once."""
        self._stopping = True
        self.process.kill()
        self.stop()

    def stop(self) -> int:
        """Stop it as an operator would; its exit status."""
        self.terminate()
        try:
            status = self.process.wait(timeout=SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise
        finally:
            self._reader.join(timeout=SECONDS)
            for pipe in (self.process.stdin, self.process.stderr):
                assert pipe is not None
                pipe.close()
        return status

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def until(holds: Callable[[], bool]) -> None:
    """Wait for what another thread or process does."""
    end = time.monotonic() + SECONDS
    while not holds():
        assert time.monotonic() < end, "it has not come true"
        time.sleep(0.005)


@contextmanager
def stand_in(attend: Callable[[bytes, grpc.ServicerContext], bytes]) -> Iterator[str]:
    """A server in this process that answers attention calls by a function of the test's: its address."""
    with stand_in_of("qkv.v1.AttentionService", {"Attend": grpc.unary_unary_rpc_method_handler(attend)}) as address:
        yield address


@contextmanager
def stand_in_of(service: str, handlers: "dict[str, grpc.RpcMethodHandler[Any, Any]]") -> Iterator[str]:
    """A server in this process that has a service of the test's own: its address."""
    server = grpc.server(ThreadPoolExecutor(4))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(None).wait()
