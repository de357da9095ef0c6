"""ModelService over HTTP: answers in pieces by connectrpc's client, by hand, and for callers who leave."""

import json
import struct
import time
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import Any

import pytest
from connectrpc.client import ConnectClientSync
from connectrpc.code import Code
from connectrpc.compat import google_protobuf_binary_codec, google_protobuf_json_codec
from connectrpc.errors import ConnectError
from connectrpc.method import IdempotencyLevel, MethodInfo, StreamType
from connectrpc.protocol import ProtocolType
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo
from model_serving import GO, TINY_MODELS, serving_models
from serving import SECONDS, ServerProcess
from web.asking import MODELS, Web, web_address
from web.test_web_openapi import follows

import qkv
from qkv.v1.models_pb2 import FINISH_REASON_LENGTH, GenerateRequest, GenerateResponse

STREAM = "application/connect+json"
END = 0b10  # the flag of the last frame of a stream, which says how it ended
GENERATE = MethodInfo(
    name="Generate",
    service_name="qkv.v1.ModelService",
    input=GenerateRequest,
    output=GenerateResponse,
    idempotency_level=IdempotencyLevel.UNKNOWN,
    stream_type=StreamType.SERVER_STREAM,
)


@pytest.fixture(
    params=[
        (protocol, codec)
        for protocol in (ProtocolType.CONNECT, ProtocolType.GRPC_WEB)
        for codec in (google_protobuf_binary_codec(), google_protobuf_json_codec())
    ],
    ids=lambda chosen: f"{chosen[0].name}-{chosen[1].name()}",
)
def connect(request: pytest.FixtureRequest, models: Web) -> Iterator[ConnectClientSync]:
    protocol, codec = request.param
    with ConnectClientSync(f"http://{models.address}", protocol=protocol, codec=codec, timeout_ms=60_000) as client:
        yield client


def ask(models: Web, method: str, **fields: Any) -> Any:
    """A method with one answer, in JSON."""
    reply = models.post(MODELS + method, json.dumps(fields).encode())
    assert reply.status == 200, reply.body
    return reply.json


def test_pieces_come_over_both_protocols(connect: ConnectClientSync, model_client: qkv.Client) -> None:
    """An answer in pieces is that of gRPC, in bytes and in JSON, and its last message says how it ended."""
    request = GenerateRequest(model="llama", prompt=GO, max_tokens=20)
    messages: list[GenerateResponse] = list(connect.execute_server_stream(request=request, method=GENERATE))
    assert len(messages) > 1
    expected = model_client.generate(GO, model="llama", max_tokens=20).read()
    assert "".join(message.text for message in messages) == expected.text
    assert messages[-1].finish_reason == FINISH_REASON_LENGTH
    assert (messages[-1].model, messages[-1].usage.output_tokens) == ("llama", 20)


def test_refusals_of_streams_carry_their_details(connect: ConnectClientSync) -> None:
    """Code, message and google.rpc's details come through where an answer in pieces was asked."""
    request = GenerateRequest(model="llama", prompt=GO, max_tokens=-1)
    with pytest.raises(ConnectError) as refused:
        list(connect.execute_server_stream(request=request, method=GENERATE))
    assert refused.value.code is Code.INVALID_ARGUMENT
    assert refused.value.message == "max_tokens: is -1, expected at least 0"
    details = {detail.type_name: detail.message_bytes for detail in refused.value.details}
    assert ErrorInfo.FromString(details["google.rpc.ErrorInfo"]).reason == "INVALID_REQUEST"
    (violation,) = BadRequest.FromString(details["google.rpc.BadRequest"]).field_violations
    assert violation.field == "max_tokens"


@pytest.fixture
def connection(models: Web) -> Iterator[HTTPConnection]:
    opened = HTTPConnection(models.address, timeout=SECONDS)
    yield opened
    opened.close()


def frame(message: Any) -> bytes:
    """A message of a stream in JSON: a flag, four bytes that say how long it is, and itself."""
    content = json.dumps(message).encode()
    return struct.pack(">BI", 0, len(content)) + content


def frames(response: HTTPResponse) -> Iterator[tuple[int, Any]]:
    """The flags and the contents of the frames of an answer, as they come."""
    while header := response.read(5):
        flags, size = struct.unpack(">BI", header)
        yield flags, json.loads(response.read(size))


def stream(connection: HTTPConnection, method: str, **fields: Any) -> Iterator[tuple[int, Any]]:
    """Ask a method that is answered in pieces, as the Connect protocol writes it down."""
    connection.request("POST", MODELS + method, frame(fields), {"content-type": STREAM})
    response = connection.getresponse()
    assert response.status == 200
    assert response.headers["content-type"] == STREAM
    yield from frames(response)


def test_frames_of_a_stream(connection: HTTPConnection) -> None:
    """Pieces are frames of JSON, and the last frame says that all went well."""
    *pieces, last = stream(connection, "Generate", model="llama", prompt=GO, maxTokens=8)
    assert [flags for flags, _ in pieces] == [0] * len(pieces)
    assert last == (END, {})
    assert pieces[-1][1]["finishReason"] == "FINISH_REASON_LENGTH"
    assert pieces[-1][1]["usage"]["outputTokens"] == 8


@pytest.mark.parametrize(
    ("fields", "code", "said"),
    [
        ({"model": "nope", "prompt": "a"}, "not_found", "no model 'nope'"),
        ({"model": "bert", "prompt": "a"}, "failed_precondition", "model 'bert' cannot generate"),
        ({"model": "gpt2", "prompt": "bear " * 99}, "resource_exhausted", "the model reads 64"),
        ({"model": "llama", "prompt": "a", "sampling": {"topP": 2}}, "invalid_argument", "sampling.top_p: is 2"),
        ({"model": "llama", "promt": "a"}, "invalid_argument", "promt: is no field of qkv.v1.GenerateRequest"),
        ({"model": "llama", "prompt": "\ud800"}, "invalid_argument", "surrogate"),
    ],
)
def test_a_refused_stream_is_one_frame(fields: Any, code: str, said: str, connection: HTTPConnection) -> None:
    """What refuses a stream is its only frame, with the code of gRPC in lower case."""
    ((flags, content),) = stream(connection, "Generate", **fields)
    assert flags == END
    assert content["error"]["code"] == code
    assert said in content["error"]["message"]


def test_answers_of_one_piece(models: Web, model_client: qkv.Client) -> None:
    """Models, tokens and vectors are asked with plain JSON, as by curl."""
    names = [model["name"] for model in ask(models, "ListModels")["models"]]
    assert names == [model.name for model in model_client.models()]
    assert ask(models, "GetModel", model="bert")["model"]["hiddenSize"] == 32
    (tokens,) = ask(models, "Tokenize", model="bert", texts=["bear"])["texts"]
    assert [token["piece"] for token in tokens["tokens"]] == ["[CLS]", "bear", "[SEP]"]
    assert ask(models, "Embed", model="bert", texts=["bear"])["embeddings"]["shape"] == ["1", "32"]
    assert len(ask(models, "Encode", model="bert", text="bear", attentions=[0])["attentions"]) == 1


@pytest.mark.parametrize(
    ("method", "fields"),
    [
        ("ListModels", {}),
        ("GetModel", {"model": "bert-labels"}),
        ("Tokenize", {"model": "llama", "texts": [GO, ""], "withoutSpecialTokens": True}),
        ("Detokenize", {"model": "llama", "texts": [{"ids": [5, 6]}], "withSpecialTokens": True}),
        ("Embed", {"model": "bert", "texts": [GO], "pooling": "POOLING_CLS", "normalize": False}),
        ("Encode", {"model": "bert-labels", "text": GO, "hiddenStates": [-1], "attentions": [0], "labels": True}),
    ],
)
def test_answers_follow_the_description(method: str, fields: dict[str, Any], models: Web) -> None:
    """Requests and answers of each method with one answer are what the OpenAPI description says of them."""
    description = models.get("/openapi.json").json
    follows(fields, f"qkv.v1.{method}Request", description)
    follows(ask(models, method, **fields), f"qkv.v1.{method}Response", description)


def test_health_of_a_model(models: Web) -> None:
    """Each model has a health of its own."""
    reply = models.post("/grpc.health.v1.Health/Check", b'{"service": "qkv.v1.ModelService/bert"}')
    assert reply.json == {"status": "SERVING"}
    reply = models.post("/grpc.health.v1.Health/Check", b'{"service": "qkv.v1.ModelService/broken"}')
    assert reply.json == {"status": "NOT_SERVING"}


@pytest.fixture
def narrow(tmp_path: Path) -> Iterator[ServerProcess]:
    """A server whose only model works on one answer at a time, and lets none wait."""
    (tmp_path / "llama").symlink_to(TINY_MODELS / "llama")
    arguments = ("--streams", "1", "--stream-queue", "0", "--web-address", "127.0.0.1:0", "--grace-seconds", "1")
    with serving_models(tmp_path, *arguments) as server:
        yield server
        assert server.stop() == 0
    assert "Traceback" not in server.log


def is_free(server: ServerProcess) -> bool:
    with qkv.Client(server.address, retries=False) as client:
        try:
            client.generate(GO, max_tokens=1).read()
        except qkv.UnavailableError:
            return False
        return True


def test_a_caller_who_leaves_frees_the_stream(narrow: ServerProcess) -> None:
    """When the connection of an answer is closed in the middle, the model is free for others."""
    connection = HTTPConnection(web_address(narrow), timeout=SECONDS)
    pieces = stream(connection, "Summarize", text=f"{GO} " * 20_000)
    next(pieces)
    assert not is_free(narrow)
    pieces.close()  # type: ignore[attr-defined]
    connection.close()
    for _ in range(20 * SECONDS):
        if is_free(narrow):
            return
        time.sleep(0.05)
    raise AssertionError("the model goes on with an answer that nobody reads")


def test_a_server_that_stops_says_so_in_the_stream(narrow: ServerProcess) -> None:
    """What outlasts the grace of a stopping server ends with a frame that says why."""
    connection = HTTPConnection(web_address(narrow), timeout=SECONDS)
    pieces = stream(connection, "Summarize", text=f"{GO} " * 20_000)
    next(pieces)
    narrow.terminate()
    *_, (flags, content) = pieces
    assert flags == END
    assert (content["error"]["code"], content["error"]["message"]) == ("unavailable", "the server is stopping")
    assert content["error"]["details"][0]["debug"]["reason"] == "STOPPING"
    connection.close()
