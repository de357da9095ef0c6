"""The life of the HTTP server beside the gRPC server, on the same event loop: bind, serve, drain, stop."""

import asyncio
import contextlib
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import uvicorn
from starlette.types import ASGIApp

from qkv_server.operations.addresses import listen
from qkv_server.operations.calls_under_way import LAST_WORDS_SECONDS
from qkv_server.service.errors import STOPPING


@dataclass(frozen=True, slots=True)
class WebServer:
    """A server that has started. `address` is the one asked for, with the port that was free in place of 0."""

    address: str
    _server: uvicorn.Server
    _serving: asyncio.Task[None]

    @classmethod
    async def start(cls, application: ASGIApp, address: str, tls: ssl.SSLContext | None) -> Self:
        """Bind and serve; raises AddressError."""
        config = uvicorn.Config(
            application,
            lifespan="off",
            ws="none",
            log_config=None,
            log_level="warning",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            ssl_context_factory=None if tls is None else lambda *_: tls,
        )
        address, sockets = listen(address)
        server = _Server(config)
        serving = asyncio.create_task(server.serve(sockets))
        while not (server.started or serving.done()):
            await asyncio.sleep(0)
        if serving.done():
            serving.result()
        return cls(address, server, serving)

    async def stop(self, grace_seconds: float) -> None:
        """Refuse new calls, close connections that have none, finish those under way; end what outlasts the grace."""
        self._server.should_exit = True
        if not await _over(self._serving, seconds=grace_seconds):
            calls = self._server.server_state.tasks
            for call in calls:
                call.cancel(STOPPING)
            await _over(*calls, seconds=LAST_WORDS_SECONDS)
            self._serving.cancel()
            await _over(self._serving, seconds=LAST_WORDS_SECONDS)


async def _over(*tasks: asyncio.Task[None], seconds: float) -> bool:
    """Whether all tasks end within a time."""
    if not tasks:
        return True
    _, pending = await asyncio.wait(tasks, timeout=seconds)
    return not pending


class _Server(uvicorn.Server):
    """uvicorn, but that the process keeps its signals."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
