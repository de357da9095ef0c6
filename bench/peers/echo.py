"""Raw gRPC: the bytes of three arrays up, as many as one of them down, and nothing done in between.

The allocator of both ends is told what qkv's is told, and no message has a limit, as with qkv's client.
"""

import asyncio

import grpc

from peers.ends import HOST
from peers.formula import Array
from peers.stopwatch import Call
from qkv import tune_allocator

METHOD = "/bench.Echo/Echo"
UNLIMITED = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


def serve(port: int) -> None:
    """An asyncio server; what it sends back is the first third of what came."""
    tune_allocator()
    asyncio.run(_serve(port))


async def _serve(port: int) -> None:
    async def echo(payload: bytes, _: object) -> bytes:
        return payload[: len(payload) // 3]

    _, service, method = METHOD.split("/")
    handler = grpc.method_handlers_generic_handler(service, {method: grpc.unary_unary_rpc_method_handler(echo)})
    server = grpc.aio.server(options=UNLIMITED)
    server.add_generic_rpc_handlers((handler,))
    server.add_insecure_port(f"{HOST}:{port}")
    await server.start()
    await server.wait_for_termination()


def connect(port: int) -> Call:
    """A call that sends bytes which are made beforehand, once for a shape."""
    tune_allocator()
    method: grpc.UnaryUnaryMultiCallable[bytes, bytes] = grpc.insecure_channel(f"{HOST}:{port}", UNLIMITED).unary_unary(
        METHOD
    )
    payloads: dict[int, bytes] = {}

    def call(query: Array, key: Array, value: Array) -> bytes:
        if query.nbytes not in payloads:
            payloads[query.nbytes] = b"".join(array.tobytes() for array in (query, key, value))
        return method(payloads[query.nbytes], wait_for_ready=True)

    return call
