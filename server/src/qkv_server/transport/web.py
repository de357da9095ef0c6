"""The services over HTTP, for browsers and curl; beside them health, and the description of it all."""

from collections.abc import AsyncGenerator, Callable, Sequence
from functools import partial
from importlib.resources import files
from typing import Any

from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route

from qkv.wire import Draft
from qkv_server.service.calls import METHODS, Calls, Method, SharedMethod, StreamMethod
from qkv_server.service.errors import TooLargeError
from qkv_server.service.models import ModelMethods
from qkv_server.transport import attention, models
from qkv_server.transport.connect import ConnectApplication, Payload, Services, Stream
from qkv_server.transport.health import OVERALL
from qkv_server.transport.health import SERVICE as HEALTH_SERVICE

HEALTH_BYTES = 2**17  # that a question for health may have, names of services being short
PREFLIGHT_SECONDS = 7200  # how long a browser may remember what it was allowed, the most that Chromium does
POLICY = {
    "content-security-policy": "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
    "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
}

Health = Callable[[str], int]  # the status of a service; raises ServiceError for one that is not here


def web_application(calls: Calls, of_models: ModelMethods, health: Health, cors_origins: Sequence[str]) -> Starlette:
    """The ASGI application; browsers may call it from pages of the given origins, "*" for any."""
    services: Services = {
        attention.SERVICE: {name: partial(_answer, calls, method) for name, method in METHODS.items()},
        models.SERVICE: {
            **{name: partial(_answer, calls, method) for name, method in of_models.unary.items()},
            **{name: Stream(partial(_stream, calls, method)) for name, method in of_models.streams.items()},
        },
        HEALTH_SERVICE: {"Check": partial(_check, health)},
    }
    cors = Middleware(
        CORSMiddleware,
        allow_origins=cors_origins,
        allow_methods=["GET", "POST"],
        allow_headers=["*"],
        expose_headers=["grpc-status", "grpc-message", "grpc-status-details-bin"],
        max_age=PREFLIGHT_SECONDS,
    )
    routes = [
        Route("/healthz", _alive),
        Route("/readyz", partial(_ready, health)),
        Route("/openapi.json", partial(_page, "openapi.json", "application/json")),
        Route("/docs", partial(_page, "docs.html", "text/html")),
        Mount("/", ConnectApplication(services, calls.limits.message_bytes)),
    ]
    return Starlette(routes=routes, middleware=[cors] if cors_origins else [])


async def _answer(calls: Calls, method: Method | SharedMethod, payload: Payload) -> bytes:
    return await calls.answer(method, payload.size, partial(payload.read, method.request), payload.form.write)


def _stream(calls: Calls, method: StreamMethod, payload: Payload) -> AsyncGenerator[bytes, None]:
    return calls.stream(method, partial(payload.read, method.request), payload.form.write)


async def _check(health: Health, payload: Payload) -> bytes:
    """grpc.health.v1.Health.Check, answered by the event loop, so that it is also when all workers are busy."""
    if payload.size > HEALTH_BYTES:
        raise TooLargeError("the question", payload.size, HEALTH_BYTES)
    request: Any = payload.read(HealthCheckRequest).message
    return payload.form.write(Draft(HealthCheckResponse(status=health(request.service))))


async def _alive(_: Request) -> Response:
    return PlainTextResponse("the process answers\n")


async def _ready(health: Health, _: Request) -> Response:
    if health(OVERALL) == HealthCheckResponse.SERVING:
        return PlainTextResponse("SERVING\n")
    return PlainTextResponse("NOT_SERVING\n", status_code=503)


async def _page(name: str, media_type: str, _: Request) -> Response:
    """A file beside this one; a page that runs nothing but itself and calls nobody but this server."""
    return Response((files(__package__) / "pages" / name).read_bytes(), media_type=media_type, headers=POLICY)
