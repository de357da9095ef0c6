"""AttentionService over gRPC.

Messages are parsed and serialized here and not by gRPC, so that bytes that are no message get an answer that says so.
Workers do it, not the event loop, which large messages would keep from every other call. Tiny calls are answered by the
loop at once: handing one over takes longer than it does.
"""

import logging
import time
import uuid
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, NamedTuple, NoReturn

import grpc
from google.protobuf.message import DecodeError, Message

from qkv import Violation
from qkv.v1 import attention_pb2
from qkv.v1.attention_pb2 import AttentionRequest, DifferentiateRequest, MergeRequest
from qkv.wire import Received, receive
from qkv_server.service.attend import attend
from qkv_server.service.differentiate import differentiate
from qkv_server.service.errors import InvalidRequestError, OutOfMemoryError, ServiceError
from qkv_server.service.limits import Limits
from qkv_server.service.merge import merge
from qkv_server.service.workers import Prepared, Turn, Workers
from qkv_server.transport.status import status_of

log = logging.getLogger(__name__)

SERVICE = attention_pb2.DESCRIPTOR.services_by_name["AttentionService"].full_name

SMALL = 2**14  # bytes of a request that the event loop reads

Context = grpc.aio.ServicerContext[bytes, bytes]


class Method(NamedTuple):
    """A method of the service: the message that it takes, and what prepares it."""

    request: type[Message]
    prepare: Callable[[Received[Any], Limits, float], Prepared]


def attention_handler(workers: Workers, limits: Limits) -> grpc.GenericRpcHandler:
    """The handler of the service, to be added to a server."""
    methods = {
        "Attend": Method(AttentionRequest, attend),
        "Merge": Method(MergeRequest, merge),
        "Differentiate": Method(DifferentiateRequest, differentiate),
    }
    handlers: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {
        name: grpc.unary_unary_rpc_method_handler(_served(method, workers, limits)) for name, method in methods.items()
    }
    return grpc.method_handlers_generic_handler(SERVICE, handlers)


def _served(method: Method, workers: Workers, limits: Limits) -> Callable[[bytes, Context], Awaitable[bytes]]:
    async def serve(payload: bytes, context: Context) -> bytes:
        prepare = partial(_prepare, method, payload, limits, time.monotonic())
        try:
            if len(payload) > SMALL:
                return await workers.run(lambda turn: prepare().answer(turn).encode())
            prepared = prepare()
            if prepared.tiny:
                return prepared.answer(Turn()).encode()
            return await workers.run(lambda turn: prepared.answer(turn).encode())
        except ServiceError as error:
            await _refuse(context, error)
        except MemoryError:
            await _refuse(context, OutOfMemoryError())
        except Exception:  # noqa: BLE001 - whatever is wrong with us is logged here, and never told to the caller
            await _fail(context)

    return serve


def _prepare(method: Method, payload: bytes, limits: Limits, arrived: float) -> Prepared:
    try:
        request = receive(payload, method.request)
    except DecodeError:
        description = f"these {len(payload)} bytes are no {method.request.DESCRIPTOR.full_name} message"
        raise InvalidRequestError([Violation("request", description)]) from None
    return method.prepare(request, limits, arrived)


async def _refuse(context: grpc.aio.ServicerContext[Any, Any], error: ServiceError) -> NoReturn:
    code, status = status_of(error)
    trailers = (("grpc-status-details-bin", status.SerializeToString()),)
    await context.abort(code, status.message, trailers)


async def _fail(context: grpc.aio.ServicerContext[Any, Any]) -> NoReturn:
    """Tell the caller of a defect of ours by a number under which the log has the whole story."""
    incident = uuid.uuid4().hex[:12]
    log.exception("incident %s: a request failed unexpectedly", incident)
    await context.abort(grpc.StatusCode.INTERNAL, f"internal error, incident {incident}")
