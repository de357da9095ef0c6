"""Servers for tests: the real command in a process of its own, on a free loopback port."""

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from typing import Self


class ServerProcess:
    """`qkv-server serve` in a process. `addresses` are where it listens; `log` is what it has said so far."""

    def __init__(
        self,
        arguments: Sequence[str] = (),
        *,
        addresses: Sequence[str] = ("127.0.0.1:0",),
        environment: dict[str, str] | None = None,
    ) -> None:
        command = [sys.executable, "-m", "qkv_server", "serve", *arguments]
        for address in addresses:
            command += ["--address", address]
        self.process = subprocess.Popen(
            command, stderr=subprocess.PIPE, text=True, env={**os.environ, **(environment or {})}
        )
        self.log = ""
        self.addresses = [self._next_address() for _ in addresses or ("from the environment",)]
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def address(self) -> str:
        return self.addresses[0]

    def _next_address(self) -> str:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.log += line
            if match := re.search(r"serving on (\S+)", line):
                return match[1]
        raise RuntimeError(f"the server did not start:\n{self.log}")

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.log += line

    def terminate(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    def stop(self) -> int:
        """Stop it as an operator would; its exit status."""
        if self.process.poll() is None:
            self.terminate()
        status = self.process.wait(timeout=60)
        self._reader.join(timeout=10)
        assert self.process.stderr is not None
        self.process.stderr.close()
        return status

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
