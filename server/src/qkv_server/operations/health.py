"""The standard health service: one entry for each service, readiness apart from liveness."""

from grpc_health.v1 import health_pb2
from grpc_health.v1.health import aio

LIVENESS = "liveness"  # SERVING as long as the process answers, also while it drains
OVERALL = ""


class Health:
    """What the server says of itself, by service name."""

    def __init__(self, services: tuple[str, ...]) -> None:
        self.servicer = aio.HealthServicer()
        self._services = (OVERALL, *services)

    async def serving(self) -> None:
        """Say that every service takes calls."""
        await self._set((*self._services, LIVENESS), health_pb2.HealthCheckResponse.SERVING)

    async def draining(self) -> None:
        """Say that no service takes new calls; the process still lives."""
        await self._set(self._services, health_pb2.HealthCheckResponse.NOT_SERVING)

    async def _set(self, services: tuple[str, ...], status: int) -> None:
        for service in services:
            await self.servicer.set(service, status)
