"""connectrpc's client, as it comes, over the Connect protocol and gRPC-Web."""

from collections.abc import Iterator

import pytest
from connectrpc.client import ConnectClientSync
from connectrpc.code import Code
from connectrpc.compat import google_protobuf_binary_codec, google_protobuf_json_codec
from connectrpc.errors import ConnectError
from connectrpc.method import IdempotencyLevel, MethodInfo, StreamType
from connectrpc.protocol import ProtocolType
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo
from refusals import Attend, valid_request
from roundtrip.malformed import base, matrices
from web.asking import Web

from qkv.v1.attention_pb2 import AttentionRequest, AttentionResponse

ATTEND = MethodInfo(
    name="Attend",
    service_name="qkv.v1.AttentionService",
    input=AttentionRequest,
    output=AttentionResponse,
    idempotency_level=IdempotencyLevel.UNKNOWN,
    stream_type=StreamType.UNARY,
)


@pytest.fixture(
    params=[
        (protocol, codec)
        for protocol in (ProtocolType.CONNECT, ProtocolType.GRPC_WEB)
        for codec in (google_protobuf_binary_codec(), google_protobuf_json_codec())
    ],
    ids=lambda chosen: f"{chosen[0].name}-{chosen[1].name()}",
)
def connect(request: pytest.FixtureRequest, web: Web) -> Iterator[ConnectClientSync]:
    protocol, codec = request.param
    with ConnectClientSync(f"http://{web.address}", protocol=protocol, codec=codec, timeout_ms=60_000) as client:
        yield client


def ask(client: ConnectClientSync, request: AttentionRequest) -> AttentionResponse:
    response: AttentionResponse = client.execute_unary(request=request, method=ATTEND)
    response.ClearField("report")
    return response


def test_answers_are_those_of_grpc(connect: ConnectClientSync, attend: Attend) -> None:
    """Matrices and tensors are answered, by either protocol, in bytes and in JSON, as over gRPC."""
    for request in (base(), matrices(), valid_request()):
        expected = attend(request)
        expected.ClearField("report")
        assert ask(connect, request) == expected


def test_refusals_carry_their_details(connect: ConnectClientSync) -> None:
    """The code, the message, and google.rpc's details come through, by either protocol."""
    request = valid_request()
    request.query.matrix.rows = 2
    request.semantics_version = 9
    with pytest.raises(ConnectError) as refused:
        ask(connect, request)
    assert refused.value.code is Code.INVALID_ARGUMENT
    details = {detail.type_name: detail.message_bytes for detail in refused.value.details}
    assert ErrorInfo.FromString(details["google.rpc.ErrorInfo"]).reason == "INVALID_REQUEST"
    violations = BadRequest.FromString(details["google.rpc.BadRequest"]).field_violations
    assert {violation.field for violation in violations} == {"query.matrix.values", "semantics_version"}
    assert refused.value.message == "; ".join(f"{found.field}: {found.description}" for found in violations)
