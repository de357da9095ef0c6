"""AttentionService over gRPC.

Messages are parsed and serialized by the service and not by gRPC, so that bytes that are no message get an answer that
says so.
"""

from collections.abc import Awaitable, Callable
from functools import partial

import grpc

from qkv.v1 import attention_pb2
from qkv_server.service.calls import METHODS, Calls, Method, SharedMethod
from qkv_server.service.errors import ServiceError
from qkv_server.transport.forms import BINARY
from qkv_server.transport.status import refuse

SERVICE = attention_pb2.DESCRIPTOR.services_by_name["AttentionService"].full_name

Context = grpc.aio.ServicerContext[bytes, bytes]


def attention_handler(calls: Calls) -> grpc.GenericRpcHandler:
    """The handler of the service, to be added to a server."""
    handlers: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {
        name: grpc.unary_unary_rpc_method_handler(served(method, calls)) for name, method in METHODS.items()
    }
    return grpc.method_handlers_generic_handler(SERVICE, handlers)


def served(method: Method | SharedMethod, calls: Calls) -> Callable[[bytes, Context], Awaitable[bytes]]:
    """What gRPC calls for a method with one answer."""

    async def serve(payload: bytes, context: Context) -> bytes:
        try:
            return await calls.answer(method, len(payload), partial(BINARY.read, payload, method.request), BINARY.write)
        except ServiceError as error:
            await refuse(error, context)

    return serve
