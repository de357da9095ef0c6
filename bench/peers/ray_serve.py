"""Ray Serve behind its own gRPC ingress: one replica, one message of bytes in, one out."""

import os
import signal
import struct
from pathlib import Path
from typing import Any

import grpc
import numpy as np
from google.protobuf.wrappers_pb2 import BytesValue
from grpc.aio import _server as aio_server

from peers.ends import HOST, LARGEST_MESSAGE, free_port, wait_until
from peers.formula import Array, attention
from peers.stopwatch import Call

SERVICE, METHOD = "bench.Attention", "attend"
SHAPE = struct.Struct("<4I")  # before the values: B, H, L, D


def serve(port: int) -> None:
    """A cluster on this machine alone, with the processors that it finds."""
    os.environ["RAY_SERVE_REPLICA_GRPC_MAX_MESSAGE_LENGTH"] = str(LARGEST_MESSAGE)
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    import ray  # type: ignore[import-not-found]  # noqa: PLC0415 - it reads the environment when it is imported
    from ray import serve as ray_serve  # noqa: PLC0415

    ray._private.services.resolve_ip_for_localhost = str  # which would put the network's address in place of HOST
    ray.init(
        include_dashboard=False,
        log_to_driver=False,
        _node_ip_address=HOST,
        _temp_dir=str(Path.cwd()),
        runtime_env={"worker_process_setup_hook": "peers.ray_serve.listen_on_loopback"},
    )
    try:
        ray_serve.start(
            http_options={"host": HOST, "port": free_port()},
            grpc_options={"port": port, "grpc_servicer_functions": ["peers.ray_serve.add_attention_to_server"]},
        )
        ray_serve.run(ray_serve.deployment(Attention).bind())
        signal.pause()  # SIGINT ends it
    finally:
        ray_serve.shutdown()
        ray.shutdown()


class Attention:
    """The formula behind a method of the service."""

    def attend(self, request: BytesValue) -> BytesValue:
        """A shape and the values of three arrays (B, H, L, D) in, those of one out."""
        shape = SHAPE.unpack_from(request.value)
        operands = np.frombuffer(request.value, np.float32, offset=SHAPE.size).reshape(3, *shape)
        return BytesValue(value=attention(*operands).tobytes())


def add_attention_to_server(servicer: Any, server: Any) -> None:
    """What generated code would do: tell a gRPC server of the service."""
    handler = grpc.unary_unary_rpc_method_handler(
        getattr(servicer, METHOD), BytesValue.FromString, BytesValue.SerializeToString
    )
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, {METHOD: handler}),))


def listen_on_loopback() -> None:
    """Keep off the network what Ray Serve has no setting for: the gRPC ports of its proxy and its replica."""
    bind = aio_server.Server.add_insecure_port

    def add_insecure_port(self: aio_server.Server, address: str) -> int:
        return bind(self, address.replace("[::]", HOST))

    aio_server.Server.add_insecure_port = add_insecure_port  # type: ignore[method-assign]


def connect(port: int) -> Call:
    """A call that joins the operands to one message."""
    unlimited = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    channel = grpc.insecure_channel(f"{HOST}:{port}", unlimited)
    method = channel.unary_unary(f"/{SERVICE}/{METHOD}", BytesValue.SerializeToString, BytesValue.FromString)

    def call(*operands: Array) -> Array:
        shape = operands[0].shape
        message = b"".join((SHAPE.pack(*shape), *(array.data for array in operands)))
        answer = method(BytesValue(value=message))
        return np.frombuffer(answer.value, np.float32).reshape(shape)

    one = np.ones((1, 1, 1, 1), np.float32)
    wait_until(lambda: call(one, one, one).size == 1)
    return call
