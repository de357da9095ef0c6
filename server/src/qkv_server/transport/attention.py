"""AttentionService over gRPC.

Messages are parsed and serialized by the workers, not by the event loop: large ones would keep every other call
waiting, and bytes that are no message get an answer that says so.
"""

import logging
import time
import uuid
from functools import partial
from typing import Any, NoReturn

import grpc
from google.protobuf.message import DecodeError

from qkv import Violation
from qkv.v1 import attention_pb2
from qkv.v1.attention_pb2 import AttentionRequest
from qkv_server.service.attend import attend
from qkv_server.service.errors import InvalidRequestError, OutOfMemoryError, ServiceError
from qkv_server.service.limits import Limits
from qkv_server.service.workers import Turn, Workers
from qkv_server.transport.status import status_of

log = logging.getLogger(__name__)

SERVICE = attention_pb2.DESCRIPTOR.services_by_name["AttentionService"].full_name

Context = grpc.aio.ServicerContext[bytes, bytes]


def attention_handler(workers: Workers, limits: Limits) -> grpc.GenericRpcHandler:
    """The handler of the service, to be added to a server."""

    async def attend_rpc(payload: bytes, context: Context) -> bytes:
        try:
            return await workers.run(partial(_attend, payload, limits, time.monotonic()))
        except ServiceError as error:
            await _refuse(context, error)
        except MemoryError:  # of parsing or serializing; the service itself refuses
            await _refuse(context, OutOfMemoryError())
        except Exception:  # noqa: BLE001 - whatever is wrong with us is logged here, and never told to the caller
            await _fail(context)

    return grpc.method_handlers_generic_handler(SERVICE, {"Attend": grpc.unary_unary_rpc_method_handler(attend_rpc)})


def _attend(payload: bytes, limits: Limits, arrived: float, turn: Turn) -> bytes:
    try:
        request = AttentionRequest.FromString(payload)
    except DecodeError:
        description = f"these {len(payload)} bytes are no {AttentionRequest.DESCRIPTOR.full_name} message"
        raise InvalidRequestError([Violation("request", description)]) from None
    return attend(request, limits, turn, arrived).SerializeToString()


async def _refuse(context: grpc.aio.ServicerContext[Any, Any], error: ServiceError) -> NoReturn:
    code, status = status_of(error)
    trailers = (("grpc-status-details-bin", status.SerializeToString()),)
    await context.abort(code, status.message, trailers)


async def _fail(context: grpc.aio.ServicerContext[Any, Any]) -> NoReturn:
    """Tell the caller of a defect of ours by a number under which the log has the whole story."""
    incident = uuid.uuid4().hex[:12]
    log.exception("incident %s: a request failed unexpectedly", incident)
    await context.abort(grpc.StatusCode.INTERNAL, f"internal error, incident {incident}")
