"""Refusals as any gRPC client meets them: read with grpcio-status and google.rpc's own messages, nothing of qkv's."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from qkv.v1 import attention_pb2_grpc
from qkv.v1.attention_pb2 import AttentionRequest, AttentionResponse

ATTEND = "/qkv.v1.AttentionService/Attend"
DEADLINE = 30.0  # seconds
TELLS_OF_THE_SERVER = re.compile(r"Traceback|\.py\b|File \"|/(?:home|usr|work|root|tmp|opt)/|site-packages")

Attend = Callable[..., AttentionResponse]


@dataclass(frozen=True)
class Refusal:
    """What a refused call says: its code and message, the one ErrorInfo, and the fields of the one BadRequest."""

    code: grpc.StatusCode
    message: str
    info: Any
    violations: tuple[tuple[str, str], ...]

    @property
    def fields(self) -> tuple[str, ...]:
        return tuple(field for field, _ in self.violations)


def attend_of(channel: grpc.Channel) -> Attend:
    """The call of the generated stub, with a deadline: a refusal must not take as long as what it refuses."""
    stub: Any = attention_pb2_grpc.AttentionServiceStub
    return partial(stub(channel).Attend, timeout=DEADLINE)


def refusal_of(call: Callable[[], object]) -> Refusal:
    """The refusal of a call that must be refused."""
    try:
        call()
    except grpc.RpcError as error:
        return read_refusal(error)
    raise AssertionError("the call was answered")


def read_refusal(error: Any) -> Refusal:
    """The refusal that an error carries, its details complete and each there once, its texts without our insides."""
    status = rpc_status.from_call(error)
    assert status is not None, f"{error.code()}: {error.details()}"
    assert status.code == error.code().value[0]
    assert status.message == error.details()
    infos = [detail for detail in status.details if detail.Is(error_details_pb2.ErrorInfo.DESCRIPTOR)]
    requests = [detail for detail in status.details if detail.Is(error_details_pb2.BadRequest.DESCRIPTOR)]
    assert len(infos) == 1
    assert len(requests) == (error.code() == grpc.StatusCode.INVALID_ARGUMENT)
    info, bad_request = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    assert infos[0].Unpack(info)
    for packed in requests:
        assert packed.Unpack(bad_request)
    violations = tuple((violation.field, violation.description) for violation in bad_request.field_violations)
    for text in (status.message, *(description for _, description in violations)):
        assert text
        assert not TELLS_OF_THE_SERVER.search(text), text
    return Refusal(error.code(), status.message, info, violations)


def assert_invalid(refusal: Refusal) -> None:
    """Require what every INVALID_ARGUMENT says."""
    assert refusal.code == grpc.StatusCode.INVALID_ARGUMENT
    assert (refusal.info.reason, refusal.info.domain) == ("INVALID_REQUEST", "qkv.v1")


def assert_too_large(refusal: Refusal) -> None:
    """Require what every refusal for size says, with the numbers that it was decided by."""
    assert refusal.code == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert (refusal.info.reason, refusal.info.domain) == ("REQUEST_TOO_LARGE", "qkv.v1")
    assert int(refusal.info.metadata["neededBytes"]) > int(refusal.info.metadata["limitBytes"]) > 0


def outcome(attend: Callable[[], object]) -> grpc.StatusCode:
    """OK, or the code of a refusal whose details are complete."""
    try:
        attend()
    except grpc.RpcError as error:
        refusal = read_refusal(error)
        if refusal.code == grpc.StatusCode.INVALID_ARGUMENT:
            assert_invalid(refusal)
        else:
            assert_too_large(refusal)
        return refusal.code
    return grpc.StatusCode.OK


def valid_request() -> AttentionRequest:
    """The smallest valid question: one query that is its own key and value."""
    request = AttentionRequest()
    request.query.matrix.rows = request.query.matrix.columns = 1
    request.query.matrix.values.append(0.5)
    return request


def assert_still_answers(attend: Attend) -> None:
    """Require that the server answers the next valid call."""
    assert attend(valid_request()).output.matrix.values == [0.5]
