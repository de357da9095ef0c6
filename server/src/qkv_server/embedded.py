"""A server in a thread of this process, for notebooks and tests. `qkv.local()` is the door to it."""

import asyncio
import threading
from typing import Self

from qkv_server.operations.server import Server
from qkv_server.operations.settings import Settings

EMBEDDED = Settings(addresses=("127.0.0.1:0",), grace_seconds=5.0)  # a free loopback port, and less patience


class EmbeddedServer:
    """A running server with an event loop and a thread of its own.

    `address` is where it listens, `web_address` where it serves HTTP, if it does.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, thread: threading.Thread, server: Server) -> None:
        self._loop = loop
        self._thread = thread
        self._server = server
        self.address = server.addresses[0]
        self.web_address = server.web_address

    @classmethod
    def start(cls, settings: Settings = EMBEDDED) -> Self:
        """Start a server; on a free loopback port unless the settings say otherwise."""
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_forever, name="qkv-embedded", daemon=True)
        thread.start()
        try:
            server = asyncio.run_coroutine_threadsafe(Server.start(settings), loop).result()
        except BaseException:
            _end(loop, thread)
            raise
        return cls(loop, thread, server)

    def stop(self) -> None:
        """Drain and stop; stopping twice is once."""
        if self._loop.is_closed():
            return
        asyncio.run_coroutine_threadsafe(self._server.stop(), self._loop).result()
        _end(self._loop, self._thread)


def _end(loop: asyncio.AbstractEventLoop, thread: threading.Thread) -> None:
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()
