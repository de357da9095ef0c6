"""The standard health service: one entry for each service, readiness apart from liveness."""

import asyncio
from collections.abc import AsyncIterator, Mapping

import grpc
from grpc_health.v1 import health_pb2_grpc
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

from qkv_server.service.errors import StoppingError, UnknownServiceError
from qkv_server.transport.health import OVERALL
from qkv_server.transport.status import refuse

LIVENESS = "liveness"  # SERVING as long as the process answers, also while it drains

Context = grpc.aio.ServicerContext[HealthCheckRequest, HealthCheckResponse]


class Health(health_pb2_grpc.HealthServicer):
    """What the server says of itself, by service name.

    Not the asyncio servicer of grpc_health: in that one a watcher who leaves takes the news from those who stay, and
    any watcher holds up a stopping server for the whole of its grace.
    """

    def __init__(self, services: tuple[str, ...]) -> None:
        self._services = (OVERALL, *services)
        self._parts: Mapping[str, bool] = {}  # what comes and goes, and whether it is ready
        self._lives: dict[str, int] = {}  # the entry of liveness, from when it serves on
        self._status: dict[str, int] = {}
        self._news = asyncio.Event()  # set at the next change, and replaced
        self._closed = False
        self.draining()  # until it serves

    def serving(self) -> None:
        """Say that every service takes calls."""
        self._serves = True
        self._lives = {LIVENESS: HealthCheckResponse.SERVING}
        self._tell()

    def draining(self) -> None:
        """Say that no service takes new calls; the process still lives."""
        self._serves = False
        self._tell()

    def parts(self, parts: Mapping[str, bool]) -> None:
        """Say which further entries there are now, as for models, and which of them are ready."""
        if parts != self._parts:
            self._parts = parts
            self._tell()

    def close(self) -> None:
        """Let the watchers go, once they have heard the last news."""
        self._closed = True
        self._tell()

    def of(self, service: str) -> int:
        """The health of one service now; raises UnknownServiceError for one that is not here."""
        if service not in self._status:
            raise UnknownServiceError(service, self._status)
        return self._status[service]

    async def Check(self, request: HealthCheckRequest, context: Context) -> HealthCheckResponse:  # noqa: N802 - gRPC's
        """The health of one service now; NOT_FOUND for one that is not here."""
        try:
            return HealthCheckResponse(status=self.of(request.service))
        except UnknownServiceError as error:
            await refuse(error, context)

    async def Watch(  # noqa: N802 - gRPC's
        self, request: HealthCheckRequest, context: Context
    ) -> AsyncIterator[HealthCheckResponse]:
        """The health of one service now, and again at each change, until the server stops."""
        told = None
        while True:
            news = self._news  # before the status is read, so that no change is missed
            status = self._status.get(request.service, HealthCheckResponse.SERVICE_UNKNOWN)
            if status != told:
                yield HealthCheckResponse(status=status)
                told = status
            if self._closed:
                await refuse(StoppingError(), context)
            await news.wait()

    def _tell(self) -> None:
        ready = {**dict.fromkeys(self._services, True), **self._parts}
        self._status = {
            name: HealthCheckResponse.SERVING if self._serves and is_ready else HealthCheckResponse.NOT_SERVING
            for name, is_ready in ready.items()
        } | self._lives
        self._news.set()
        self._news = asyncio.Event()
