"""Answers over HTTP are those over gRPC, in JSON and in bytes."""

import gzip
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from google.protobuf import json_format
from refusals import Attend
from roundtrip.malformed import base, matrices
from roundtrip.malformed_options import rank_4
from roundtrip.malformed_positions import packed, positional
from web.asking import ATTENTION, BINARY, Reply, Web

import qkv
from qkv import codec
from qkv.v1.attention_pb2 import AttentionRequest, AttentionResponse
from qkv.v1.tensor_pb2 import Operand
from qkv_server.embedded import EmbeddedServer
from qkv_server.operations.settings import Settings
from qkv_server.service.attend import attend as attend_in_process
from qkv_server.service.calls import METHODS
from qkv_server.service.limits import Limits

Start = Callable[[], AttentionRequest]

STARTS: tuple[Start, ...] = (base, matrices, rank_4, packed, positional)
ATTEND = f"{ATTENTION}Attend"
WALK_THROUGH = {
    "query": {
        "matrix": {"rows": 3, "columns": 4, "values": [0.5, 0.8, 0.2, 0.6, 0.7, 0.1, 0.9, 0.3, 0.4, 0.6, 0.3, 0.8]}
    },
    "scoring": {"scale": 1, "softmaxAxis": "SOFTMAX_AXIS_QUERIES"},
    "outputs": ["QUANTITY_SCORES", "QUANTITY_WEIGHTS"],
}


def without_report(response: AttentionResponse) -> AttentionResponse:
    response.ClearField("report")
    return response


def output_of(reply: Reply) -> codec.Array:
    return codec.from_operand(AttentionResponse.FromString(reply.body).output, "output")


def from_json(fields: bytes) -> AttentionResponse:
    return json_format.Parse(fields, AttentionResponse())


@pytest.mark.parametrize("start", STARTS, ids=lambda start: start.__name__)
def test_json_says_what_grpc_says(start: Start, web: Web, attend: Attend) -> None:
    """Every bit of every array is the same, for matrices and tensors, whatever the request sets."""
    reply = web.ask("Attend", start())
    assert reply.status == 200
    assert without_report(from_json(reply.body)) == without_report(attend(start()))


@pytest.mark.parametrize("start", STARTS, ids=lambda start: start.__name__)
@pytest.mark.parametrize("compressed", [False, True])
def test_bytes_say_what_grpc_says(compressed: bool, start: Start, web: Web, attend: Attend) -> None:
    """The same for messages in bytes, also for those that come compressed."""
    payload = start().SerializeToString()
    if compressed:
        reply = web.post(ATTEND, gzip.compress(payload), BINARY, content_encoding="gzip")
    else:
        reply = web.post(ATTEND, payload, BINARY)
    assert (reply.status, reply.headers["content-type"]) == (200, BINARY)
    assert without_report(AttentionResponse.FromString(reply.body)) == without_report(attend(start()))


def test_matrices_in_matrices_out(web: Web) -> None:
    """Who types matrices reads matrices: the walk-through's scores and weights, as that text prints them."""
    answer = web.ask("Attend", WALK_THROUGH).json
    assert [(answer[name]["matrix"]["rows"], answer[name]["matrix"]["columns"]) for name in ("output", "scores")] == [
        ("3", "4"),
        ("3", "3"),
    ]
    assert answer["scores"]["matrix"]["values"] == pytest.approx([1.29, 0.79, 1.22, 0.79, 1.4, 0.85, 1.22, 0.85, 1.25])
    weights = np.reshape(answer["weights"]["matrix"]["values"], (3, 3))
    np.testing.assert_allclose(weights.sum(axis=0), 1)


def test_what_json_has_no_number_for(web: Web) -> None:
    """Infinities are strings, going and coming, as protobuf's JSON has them."""
    mask = {"matrix": {"rows": 1, "columns": 2, "values": [0, "-Infinity"]}}
    query = {"matrix": {"rows": 1, "columns": 1, "values": [1]}}
    key = {"matrix": {"rows": 2, "columns": 1, "values": [1, "NaN"]}}
    question = {"query": query, "key": key, "visibility": {"mask": mask}, "outputs": ["QUANTITY_MASKED_SCORES"]}
    answer = web.ask("Attend", question).json
    assert answer["output"]["matrix"]["values"] == [1]
    assert answer["maskedScores"]["matrix"]["values"] == [1, "-Infinity"]


def test_every_method_is_served(web: Web) -> None:
    """Each method of the service answers a request without fields as one that lacks something, not as unknown."""
    for name in METHODS:
        reply = web.ask(name, {})
        assert (reply.status, reply.json["code"]) == (400, "invalid_argument"), name


@pytest.mark.parametrize("content_type", ["application/json; charset=utf-8", "Application/JSON"])
def test_content_types_as_people_write_them(content_type: str, web: Web) -> None:
    """Parameters and capitals in the content type do not matter."""
    assert (
        web.post(ATTEND, b'{"query": {"matrix": {"rows": 1, "columns": 1, "values": [2]}}}', content_type).status == 200
    )


def test_large_messages(web: Web) -> None:
    """Past the 4 MiB that connectrpc and gRPC come with: 18 MB go there and back in bytes, 6 MB in JSON."""
    values = np.random.default_rng(0).standard_normal((1500, 1500))
    request = AttentionRequest(query=Operand(tensor=codec.to_tensor(values)))
    request.scoring.scale = 0
    reply = web.post(ATTEND, request.SerializeToString(), BINARY)
    np.testing.assert_allclose(output_of(reply), np.broadcast_to(values.mean(axis=0), values.shape), atol=1e-12)

    values = values[:400, :800]
    request = AttentionRequest()
    request.query.matrix.CopyFrom(codec.to_matrix(values))
    request.scoring.scale = 0
    answer = from_json(web.ask("Attend", request).body)
    np.testing.assert_allclose(
        np.reshape(answer.output.matrix.values, values.shape),
        np.broadcast_to(values.mean(axis=0), values.shape),
        atol=1e-12,
    )


def test_both_ports_at_once(web: Web, by_grpc: qkv.Client) -> None:
    """Calls of all kinds at the same time get the answers that they get alone."""
    question = {"query": {"matrix": {"rows": 2, "columns": 2, "values": [1, 2, 3, 4]}}}
    array = np.random.default_rng(0).standard_normal((2, 64, 32))
    request = AttentionRequest(query=Operand(tensor=codec.to_tensor(array)))

    def ask(turn: int) -> bytes:
        match turn % 3:
            case 0:
                values: bytes = by_grpc.attention(array).output.tobytes()
                return values
            case 1:
                return output_of(web.post(ATTEND, request.SerializeToString(), BINARY)).tobytes()
            case _:
                return str(web.ask("Attend", question).json["output"]).encode()

    alone = [ask(turn) for turn in range(3)]
    with ThreadPoolExecutor(12) as threads:
        assert list(threads.map(ask, range(120))) == alone * 40


@pytest.mark.parametrize(
    ("body", "headers", "reader"),
    [
        (b'{"query": {}}', {}, "qkv-embedded"),
        (b'{"query": {}}' + b" " * 2**15, {}, "qkv-worker"),
        (gzip.compress(b'{"query": {}}'), {"content_encoding": "gzip"}, "qkv-worker"),
    ],
    ids=["tiny", "large", "compressed"],
)
def test_the_event_loop_reads_only_what_is_tiny(
    body: bytes, headers: dict[str, str], reader: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is large, or may be when it is decompressed, is read by a worker, so that other calls do not wait for it."""
    readers: list[str] = []

    def read(received: Any, *_: object) -> Any:
        readers.append(threading.current_thread().name)
        return attend_in_process(received, Limits(), 0.0)

    monkeypatch.setitem(METHODS, "Attend", METHODS["Attend"]._replace(prepare=read))
    server = EmbeddedServer.start(Settings(addresses=("127.0.0.1:0",), web_address="127.0.0.1:0"))
    try:
        assert server.web_address is not None
        assert Web(server.web_address).post(ATTEND, body, **headers).status == 400
    finally:
        server.stop()
    assert [name.startswith(reader) for name in readers] == [True]
