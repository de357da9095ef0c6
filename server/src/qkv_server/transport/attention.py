"""AttentionService over gRPC.

Messages are parsed and serialized by the workers, not by the event loop: large ones would keep every other call
waiting, and bytes that are no message get an answer that says so.
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
from qkv_server.service.attend import attend
from qkv_server.service.differentiate import differentiate
from qkv_server.service.errors import InvalidRequestError, OutOfMemoryError, ServiceError
from qkv_server.service.limits import Limits
from qkv_server.service.merge import merge
from qkv_server.service.workers import Turn, Workers
from qkv_server.transport.status import status_of

log = logging.getLogger(__name__)

SERVICE = attention_pb2.DESCRIPTOR.services_by_name["AttentionService"].full_name

Context = grpc.aio.ServicerContext[bytes, bytes]


class Method(NamedTuple):
    """A method of the service: the message that it takes, and what answers it in a turn with the workers."""

    request: type[Message]
    answer: Callable[[Any, Limits, Turn, float], Message]


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
        try:
            return await workers.run(partial(_answer, method, payload, limits, time.monotonic()))
        except ServiceError as error:
            await _refuse(context, error)
        except MemoryError:  # of parsing or serializing; the service itself refuses
            await _refuse(context, OutOfMemoryError())
        except Exception:  # noqa: BLE001 - whatever is wrong with us is logged here, and never told to the caller
            await _fail(context)

    return serve


def _answer(method: Method, payload: bytes, limits: Limits, arrived: float, turn: Turn) -> bytes:
    try:
        request = method.request.FromString(payload)
    except DecodeError:
        description = f"these {len(payload)} bytes are no {method.request.DESCRIPTOR.full_name} message"
        raise InvalidRequestError([Violation("request", description)]) from None
    return method.answer(request, limits, turn, arrived).SerializeToString()


async def _refuse(context: grpc.aio.ServicerContext[Any, Any], error: ServiceError) -> NoReturn:
    code, status = status_of(error)
    trailers = (("grpc-status-details-bin", status.SerializeToString()),)
    await context.abort(code, status.message, trailers)


async def _fail(context: grpc.aio.ServicerContext[Any, Any]) -> NoReturn:
    """Tell the caller of a defect of ours by a number under which the log has the whole story."""
    incident = uuid.uuid4().hex[:12]
    log.exception("incident %s: a request failed unexpectedly", incident)
    await context.abort(grpc.StatusCode.INTERNAL, f"internal error, incident {incident}")
