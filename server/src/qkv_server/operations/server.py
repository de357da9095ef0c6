"""The life of a server: bind, serve, drain, stop."""

import asyncio
import logging
import os
import signal
import ssl
from dataclasses import dataclass
from typing import Self

import grpc
from grpc_health.v1 import health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from threadpoolctl import threadpool_limits

from qkv import tune_allocator
from qkv_server.operations.addresses import AddressError, check, is_unix
from qkv_server.operations.health import Health
from qkv_server.operations.settings import Settings, TLSFiles
from qkv_server.service.calls import Calls
from qkv_server.service.workers import Workers
from qkv_server.transport import attention

log = logging.getLogger(__name__)

HEALTH_SERVICE = "grpc.health.v1.Health"


@dataclass(frozen=True, slots=True)
class Server:
    """A server that has started. `addresses` are those asked for, with the ports that were free in place of 0."""

    addresses: tuple[str, ...]
    _server: grpc.aio.Server
    _health: Health
    _workers: Workers
    _settings: Settings

    @classmethod
    async def start(cls, settings: Settings) -> Self:
        """Bind every address and serve; raises AddressError, or OSError for a certificate that cannot be used."""
        threadpool_limits(1, user_api="blas")  # workers are the parallelism: each computes on one thread
        workers = Workers(settings.workers, settings.queue)
        health = Health((attention.SERVICE,))
        server = grpc.aio.server(
            options=[
                ("grpc.max_receive_message_length", settings.limits.message_bytes),
                ("grpc.max_send_message_length", -1),  # limited before it is computed
                ("grpc.so_reuseport", 0),  # a second server on one port is an error, not a coin toss
            ]
        )
        server.add_generic_rpc_handlers((attention.attention_handler(Calls(workers, settings.limits)),))
        health_pb2_grpc.add_HealthServicer_to_server(health, server)
        if settings.reflection:
            names = (attention.SERVICE, HEALTH_SERVICE, reflection.SERVICE_NAME)
            reflection.enable_server_reflection(names, server)
        addresses = tuple(_bind(server, address, settings.tls) for address in settings.addresses)
        await server.start()
        health.serving()
        return cls(addresses, server, health, workers, settings)

    async def stop(self) -> bool:
        """Drain: say NOT_SERVING, keep serving for a while, refuse new calls, finish those under way.

        Whether the arithmetic is over. A call that outlasts the grace is ended, but its thread goes on to its result.
        """
        self._health.draining()
        await asyncio.sleep(self._settings.drain_seconds)
        self._health.close()
        await self._server.stop(self._settings.grace_seconds)
        return self._workers.close()


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
    await stopping.wait()
    log.info("draining: finishing the calls under way, for at most %g s", settings.grace_seconds)
    if await server.stop():
        log.info("stopped")
        return
    log.warning("stopped, giving up on calls that took longer than %g s", settings.grace_seconds)
    logging.shutdown()
    os._exit(0)  # the interpreter would wait for their threads, far beyond the grace that was asked for


def _bind(server: grpc.aio.Server, address: str, tls: TLSFiles | None) -> str:
    """Listen on an address; the address, with the port that was bound."""
    check(address)
    try:
        if tls is None or is_unix(address):
            port = server.add_insecure_port(address)
        else:
            port = server.add_secure_port(address, _credentials(tls))
    except RuntimeError as error:
        raise AddressError(address, str(error)) from None
    if is_unix(address):
        return address
    host, _, _ = address.rpartition(":")
    return f"{host}:{port}"


def _credentials(tls: TLSFiles) -> grpc.ServerCredentials:
    """The files as gRPC takes them; read by OpenSSL first, which says what is wrong, and takes no empty authorities."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(tls.certificate, tls.key, password=lambda: "")  # never asks at the terminal
    except ssl.SSLError as error:
        pair = f"{tls.certificate} and {tls.key}"
        raise OSError(f"{pair}: expected a PEM certificate chain and its unencrypted key ({error})") from None
    if tls.client_ca is not None:
        try:
            context.load_verify_locations(tls.client_ca)
        except ssl.SSLError as error:
            raise OSError(f"{tls.client_ca}: expected PEM certificates of authorities ({error})") from None
    client_ca = tls.client_ca.read_bytes() if tls.client_ca is not None else None
    return grpc.ssl_server_credentials(
        [(tls.key.read_bytes(), tls.certificate.read_bytes())],
        root_certificates=client_ca,
        require_client_auth=client_ca is not None,
    )
