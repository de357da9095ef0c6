"""A drain and the Open Inference Protocol: readiness is told, and an open stream does not hold the server up."""

from queue import SimpleQueue
from typing import Any

import grpc
import pytest
from serving import SECONDS, ServerProcess

from qkv.third_party.open_inference_pb2 import (
    ModelInferRequest,
    ModelReadyRequest,
    ModelReadyResponse,
    ModelStreamInferResponse,
    RepositoryIndexRequest,
    RepositoryIndexResponse,
    ServerLiveRequest,
    ServerLiveResponse,
    ServerReadyRequest,
    ServerReadyResponse,
)

from .conftest import GO_ON, UNDER_WAY, Held

SERVICE = "inference.GRPCInferenceService"
DRAIN = ["--drain-seconds", "600"]  # much longer than a test, which ends the server itself
GRACE = ["--grace-seconds", "600"]  # the same, of a server that ends by itself


def call(channel: grpc.Channel, name: str, request: Any, response: Any) -> Any:
    ask = channel.unary_unary(
        f"/{SERVICE}/{name}",
        request_serializer=type(request).SerializeToString,
        response_deserializer=response.FromString,
    )
    return ask(request, timeout=SECONDS)


def open_stream(channel: grpc.Channel, requests: "SimpleQueue[ModelInferRequest | None]") -> Any:
    stream = channel.stream_stream(
        f"/{SERVICE}/ModelStreamInfer",
        request_serializer=ModelInferRequest.SerializeToString,
        response_deserializer=ModelStreamInferResponse.FromString,
    )
    return stream(iter(requests.get, None), timeout=SECONDS)


def question() -> ModelInferRequest:
    request = ModelInferRequest(model_name="attention")
    request.inputs.add(name="Q", datatype="FP64", shape=[1, 1]).contents.fp64_contents.append(0.5)
    return request


def test_readiness_follows_the_health_of_the_server() -> None:
    """While it drains, the server lives, but neither it nor its model is ready."""
    server = ServerProcess(DRAIN)
    try:
        with grpc.insecure_channel(server.address) as channel:
            model = ModelReadyRequest(name="attention")
            assert call(channel, "ServerReady", ServerReadyRequest(), ServerReadyResponse).ready
            assert call(channel, "ModelReady", model, ModelReadyResponse).ready
            server.terminate()
            server.wait_for("draining")
            assert call(channel, "ServerLive", ServerLiveRequest(), ServerLiveResponse).live
            assert not call(channel, "ServerReady", ServerReadyRequest(), ServerReadyResponse).ready
            assert not call(channel, "ModelReady", model, ModelReadyResponse).ready
            index = RepositoryIndexRequest()
            (listed,) = call(channel, "RepositoryIndex", index, RepositoryIndexResponse).models
            assert listed.state == "UNAVAILABLE"
            index.ready = True
            assert not call(channel, "RepositoryIndex", index, RepositoryIndexResponse).models
    finally:
        server.kill()


def test_an_idle_stream_is_let_go() -> None:
    """A stream that has had all its answers ends with UNAVAILABLE, long before the grace is over; status 0."""
    server = ServerProcess(GRACE)
    requests: SimpleQueue[ModelInferRequest | None] = SimpleQueue()
    with grpc.insecure_channel(server.address) as channel:
        stream = open_stream(channel, requests)
        requests.put(question())
        assert list(next(stream).infer_response.outputs[0].contents.fp64_contents) == [0.5]
        server.terminate()
        with pytest.raises(grpc.RpcError) as ended:
            next(stream)
        assert ended.value.code() is grpc.StatusCode.UNAVAILABLE
        requests.put(None)
    assert server.stop() == 0
    assert server.log.rstrip().endswith(": stopped")
    assert "Traceback" not in server.log


def test_a_stream_has_its_answer_first(held: Held) -> None:
    """A call of a stream that is under way is answered, and then the stream ends."""
    server = held(GRACE)
    requests: SimpleQueue[ModelInferRequest | None] = SimpleQueue()
    with grpc.insecure_channel(server.address) as channel:
        stream = open_stream(channel, requests)
        requests.put(question())
        server.wait_for(UNDER_WAY)
        server.terminate()
        server.wait_for("draining")
        server.write(GO_ON)
        assert list(next(stream).infer_response.outputs[0].contents.fp64_contents) == [0.5]
        with pytest.raises(grpc.RpcError) as ended:
            next(stream)
        assert ended.value.code() is grpc.StatusCode.UNAVAILABLE
        requests.put(None)
    assert server.stop() == 0
