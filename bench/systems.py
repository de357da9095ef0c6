"""Systems under measurement: a server and a client, each a process of its own, that are asked for a round at a time."""

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from peers.ends import free_port
from peers.formula import Shape

BENCH = Path(__file__).parent
THREADS = 2  # of arithmetic, for every system
KEPT_MEMORY = {  # glibc keeps the memory of large messages, as `qkv.tune_allocator` tells it
    "MALLOC_MMAP_THRESHOLD_": str(2**30),
    "MALLOC_TRIM_THRESHOLD_": str(2**34),
    "MALLOC_TOP_PAD_": str(2**26),
}
ANSWER_SECONDS = 180  # until a client that says nothing is given up
STOP_SECONDS = 20  # until a server that was asked to stop is killed

Timer = Callable[[Shape], float]  # the median seconds of a call in one more round


class UnavailableError(Exception):
    """A system that cannot be measured here; the message says why."""


@dataclass(frozen=True, slots=True)
class System:
    """The module of `peers` that has both ends; whether it has an environment of its own, and keeps its memory."""

    module: str
    own_environment: bool = True
    tuned: bool = False

    @property
    def python(self) -> Path:
        """The interpreter of its environment; raises UnavailableError if that was not made to its end."""
        if not self.own_environment:
            return Path(sys.executable)
        environment = BENCH.parent / f".venv-bench-{self.module}"
        if not (environment / ".ready").exists():
            raise UnavailableError(f"{environment.name} is not there: `make bench-call` could not install it")
        return environment / "bin" / "python"

    def variables(self, folder: Path) -> dict[str, str]:
        """The environment of both ends, which find a home in a folder that goes when they do."""
        paths = [BENCH]
        if not self.own_environment:
            paths += [Path(path).absolute() for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
        threads = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "QKV_WORKERS"), str(THREADS))
        places = {"PYTHONPATH": os.pathsep.join(map(str, paths)), "HOME": str(folder), "no_proxy": "*"}
        return os.environ | threads | places | (KEPT_MEMORY if self.tuned else {})


@contextmanager
def running(system: System) -> Iterator[Timer]:
    """Start both ends and stop them at the end; raises UnavailableError if either fails."""
    with tempfile.TemporaryDirectory(prefix="qkv-bench-", ignore_cleanup_errors=True) as name:
        folder, port = Path(name), free_port()
        with _end(system, "serve", port, folder) as server, _end(system, "call", port, folder) as client:

            def answer() -> Any:
                return json.loads(_line(system, client, server, folder))

            def median(shape: Shape) -> float:
                assert client.stdin is not None  # noqa: S101 - for mypy: it is a pipe
                with suppress(BrokenPipeError):  # its client has ended, of which the answer tells
                    client.stdin.write(json.dumps(shape) + "\n")
                    client.stdin.flush()
                return float(answer())

            answer()  # that it is ready
            yield median


@contextmanager
def _end(system: System, role: str, port: int, folder: Path) -> "Iterator[subprocess.Popen[str]]":
    """One end as a process in a session of its own, so that nothing which it started outlives it."""
    command = [str(system.python), "-m", "peers", system.module, role, str(port)]
    with (folder / f"{role}.log").open("w") as log:
        process = subprocess.Popen(  # noqa: S603 - our own command
            command,
            cwd=folder,
            env=system.variables(folder),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE if role == "call" else log,
            stderr=log,
            text=True,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            process.wait(STOP_SECONDS)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def _line(system: System, client: "subprocess.Popen[str]", server: "subprocess.Popen[str]", folder: Path) -> str:
    """The next line of a client; raises UnavailableError with the last words of the end that failed."""
    assert client.stdout is not None  # noqa: S101 - for mypy: it is a pipe
    end = time.monotonic() + ANSWER_SECONDS
    while not select.select([client.stdout], [], [], 0.5)[0]:
        if server.poll() is not None:
            raise UnavailableError(f"the server of {system.module} ended: {_last_words(folder / 'serve.log')}")
        if time.monotonic() > end:
            raise UnavailableError(f"the client of {system.module} said nothing for {ANSWER_SECONDS} s")
    line = client.stdout.readline()
    if not line:
        raise UnavailableError(f"the client of {system.module} ended: {_last_words(folder / 'call.log')}")
    return line


def _last_words(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1][-300:] if lines else "without a word"
