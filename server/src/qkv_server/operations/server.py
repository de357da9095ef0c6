"""The life of a server: bind, serve, drain, stop."""

import asyncio
import logging
import os
import signal
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import grpc
from grpc_health.v1 import health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from threadpoolctl import threadpool_limits

from qkv import tune_allocator
from qkv_server.operations.addresses import AddressError, check, is_unix
from qkv_server.operations.calls_under_way import LAST_WORDS_SECONDS, CallsUnderWay
from qkv_server.operations.health import Health
from qkv_server.operations.models import WatchedModels
from qkv_server.operations.settings import Settings, TLSFiles
from qkv_server.operations.tls import grpc_credentials, ssl_context
from qkv_server.service.calls import Calls
from qkv_server.service.models import ModelMethods, model_methods
from qkv_server.service.models.choosing import Models
from qkv_server.service.workers import Workers
from qkv_server.transport import attention, models, oip
from qkv_server.transport.health import SERVICE as HEALTH_SERVICE

if TYPE_CHECKING:
    from qkv_server.operations.web import WebServer

log = logging.getLogger(__name__)


class MissingExtraError(Exception):
    """A setting that needs packages which are not installed."""

    def __init__(self, setting: str, extra: str, package: str | None) -> None:
        super().__init__(f"{setting} needs the package {package}: pip install 'qkv-server[{extra}]'")


@dataclass(frozen=True, slots=True)
class Server:
    """A server that has started. `addresses` are those asked for, with the ports that were free in place of 0."""

    addresses: tuple[str, ...]
    _web: "WebServer | None"
    _server: grpc.aio.Server
    _under_way: CallsUnderWay
    _inference: oip.Inference
    _health: Health
    _models: WatchedModels | None
    _workers: Workers
    _settings: Settings

    @classmethod
    async def start(cls, settings: Settings) -> Self:
        """Bind every address and serve.

        Raises AddressError, OSError for a certificate that cannot be used, and MissingExtraError.
        """
        threadpool_limits(1, user_api="blas")  # workers are the parallelism: each computes on one thread
        workers = Workers(settings.workers, settings.queue)
        health = Health((attention.SERVICE, models.SERVICE, oip.SERVICE))
        server = grpc.aio.server(
            options=[
                ("grpc.max_receive_message_length", settings.limits.message_bytes),
                ("grpc.max_send_message_length", -1),  # limited before it is computed
                ("grpc.so_reuseport", 0),  # a second server on one port is an error, not a coin toss
            ]
        )
        addresses = tuple(_bind(server, address, settings.tls) for address in settings.addresses)
        async with AsyncExitStack() as undo:
            watched = _watch_models(settings, health)
            if watched is not None:
                undo.push_async_callback(watched.close)
            calls = Calls(workers, settings.limits)
            inference = oip.Inference(calls, health.of, oip.Models([oip.AttentionModel()]))
            of_models = model_methods(watched.models if watched is not None else Models(None))
            handlers = (attention.attention_handler(calls), models.model_handler(calls, of_models), inference.handler())
            under_way = CallsUnderWay(handlers)
            server.add_generic_rpc_handlers((under_way,))
            health_pb2_grpc.add_HealthServicer_to_server(health, server)
            if settings.reflection:
                names = (attention.SERVICE, models.SERVICE, oip.SERVICE, HEALTH_SERVICE, reflection.SERVICE_NAME)
                reflection.enable_server_reflection(names, server, oip.DESCRIBED)
            web = await _start_web(calls, of_models, health, settings)
            await server.start()
            undo.pop_all()
        health.serving()
        return cls(addresses, web, server, under_way, inference, health, watched, workers, settings)

    @property
    def web_address(self) -> str | None:
        """Where HTTP is served, with the port that was free in place of 0."""
        return self._web.address if self._web is not None else None

    async def stop(self) -> bool:
        """Drain: say NOT_SERVING, keep serving for a while, refuse new calls, finish those under way.

        Whether the arithmetic is over, and the loading of models. A call that outlasts the grace is ended, but its
        thread goes on to its result.
        """
        self._health.draining()
        await asyncio.sleep(self._settings.drain_seconds)
        self._health.close()
        self._inference.close()
        stopping = [self._stop_grpc()]
        if self._web is not None:
            stopping.append(self._web.stop(self._settings.grace_seconds))
        await asyncio.gather(*stopping)
        loaded = self._models is None or await self._models.close()
        return self._workers.close() and loaded

    async def _stop_grpc(self) -> None:
        begun = time.monotonic()
        self._under_way.close()
        if not await self._under_way.ended(self._settings.grace_seconds):
            self._under_way.give_up()
            await self._under_way.ended(LAST_WORDS_SECONDS)
        await self._server.stop(max(LAST_WORDS_SECONDS, begun + self._settings.grace_seconds - time.monotonic()))


async def run(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT, then drain."""
    stopping = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, stopping.set)
    if not tune_allocator():
        log.info("the allocator is not glibc's and stays as it is: large messages may take longer")
    server = await Server.start(settings)
    for address in server.addresses:
        log.info("serving on %s", address)
    if server.web_address is not None:
        log.info("serving HTTP on %s", server.web_address)
    await stopping.wait()
    log.info("draining: finishing the calls under way, for at most %g s", settings.grace_seconds)
    if await server.stop():
        log.info("stopped")
        return
    log.warning("stopped, giving up on what took longer than %g s", settings.grace_seconds)
    logging.shutdown()
    os._exit(0)  # the interpreter would wait for their threads, far beyond the grace that was asked for


def _watch_models(settings: Settings, health: Health) -> WatchedModels | None:
    if settings.models is None:
        return None
    try:
        return WatchedModels.open(settings.models, settings.model_limits, health)
    except ModuleNotFoundError as error:
        raise MissingExtraError("--models", "models", error.name) from error


async def _start_web(calls: Calls, of_models: ModelMethods, health: Health, settings: Settings) -> "WebServer | None":
    if settings.web_address is None:
        return None
    try:
        from qkv_server.operations.web import WebServer  # noqa: PLC0415 - an extra
        from qkv_server.transport.web import web_application  # noqa: PLC0415 - an extra
    except ModuleNotFoundError as error:
        raise MissingExtraError("--web-address", "web", error.name) from error
    application = web_application(calls, of_models, health.of, settings.cors_origins)
    tls = ssl_context(settings.tls) if settings.tls is not None else None
    return await WebServer.start(application, settings.web_address, tls)


def _bind(server: grpc.aio.Server, address: str, tls: TLSFiles | None) -> str:
    """Listen on an address; the address, with the port that was bound."""
    check(address)
    try:
        if tls is None or is_unix(address):
            port = server.add_insecure_port(address)
        else:
            port = server.add_secure_port(address, grpc_credentials(tls))
    except RuntimeError as error:
        raise AddressError(address, str(error)) from None
    if is_unix(address):
        return address
    host, _, _ = address.rpartition(":")
    return f"{host}:{port}"
