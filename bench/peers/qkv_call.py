"""qkv: its server as the command starts it, and its blocking client."""

import os
import sys

import qkv
from peers.ends import HOST
from peers.formula import Array
from peers.stopwatch import Call


def serve(port: int) -> None:
    """Become the server, which tunes its own allocator."""
    command = [sys.executable, "-m", "qkv_server", "serve", "--address", f"{HOST}:{port}"]
    os.execv(sys.executable, command)  # noqa: S606 - the project's own command


def connect(port: int) -> Call:
    """A call by a client whose process keeps the memory of large messages, as programs are told to."""
    qkv.tune_allocator()
    client = qkv.Client(f"{HOST}:{port}", wait_for_ready=True)

    def call(query: Array, key: Array, value: Array) -> Array:
        return client.attention(query, key, value).output

    return call
