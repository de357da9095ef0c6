"""What the ends of several systems have in common."""

import socket
import time
from collections.abc import Callable

HOST = "127.0.0.1"
LARGEST_MESSAGE = 2**30  # bytes: for peers that want a number
MODEL = "attention"
INPUTS = ("query", "key", "value")
OUTPUT = "output"
READY_SECONDS = 120  # until a server that does not answer is given up


def free_port() -> int:
    """A port of the loopback interface that nobody listens on."""
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        port: int = listener.getsockname()[1]
        return port


def wait_until(ready: Callable[[], bool]) -> None:
    """Return once it is ready; errors of whatever library is asked mean not yet, until the time is over."""
    end = time.monotonic() + READY_SECONDS
    while True:
        try:
            if ready():
                return
        except Exception:  # each library has its own for a server that is not up yet
            if time.monotonic() > end:
                raise
        if time.monotonic() > end:
            raise TimeoutError(f"not ready within {READY_SECONDS} s")
        time.sleep(0.1)
