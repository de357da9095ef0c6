"""ModelService over gRPC."""

from collections.abc import Awaitable, Callable
from contextlib import aclosing
from functools import partial

import grpc

from qkv.v1 import models_pb2
from qkv_server.service.calls import Calls, StreamMethod
from qkv_server.service.errors import ServiceError
from qkv_server.service.models import ModelMethods
from qkv_server.transport.attention import Context, served
from qkv_server.transport.forms import BINARY
from qkv_server.transport.status import refuse

SERVICE = models_pb2.DESCRIPTOR.services_by_name["ModelService"].full_name


def model_handler(calls: Calls, methods: ModelMethods) -> grpc.GenericRpcHandler:
    """The handler of the service, to be added to a server."""
    handlers: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {
        name: grpc.unary_unary_rpc_method_handler(served(method, calls)) for name, method in methods.unary.items()
    }
    handlers |= {
        name: grpc.unary_stream_rpc_method_handler(_streamed(method, calls)) for name, method in methods.streams.items()
    }
    return grpc.method_handlers_generic_handler(SERVICE, handlers)


def _streamed(method: StreamMethod, calls: Calls) -> Callable[[bytes, Context], Awaitable[None]]:
    async def serve(payload: bytes, context: Context) -> None:
        read = partial(BINARY.read, payload, method.request)
        try:
            async with aclosing(calls.stream(method, read, BINARY.write)) as pieces:
                async for piece in pieces:
                    await context.write(piece)
        except ServiceError as error:
            await refuse(error, context)

    return serve
