"""From a refusal of the service to a gRPC status with its details (AIP-193: one ErrorInfo, one of each other)."""

from collections.abc import Sequence
from typing import NoReturn, TypeVar

import grpc
from google.protobuf.any_pb2 import Any
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status

from qkv import Violation
from qkv_server.service.errors import (
    BusyError,
    InternalError,
    InvalidRequestError,
    ModelLoadingError,
    ModelNotReadyError,
    NoModelError,
    NoRoomError,
    NoSuchTaskError,
    OutOfMemoryError,
    OverloadedError,
    ServiceError,
    StoppingError,
    TooLargeError,
    TooManyTokensError,
    UnknownModelError,
    UnknownServiceError,
)

DOMAIN = "qkv.v1"

Question = TypeVar("Question")
Answer = TypeVar("Answer")

# gRPC lets trailers be 8 KiB; the message is sent twice (percent-encoded, and in the status), the details in base64.
MESSAGE_CHARACTERS = 600
FIELD_CHARACTERS = 200
DESCRIPTION_CHARACTERS = 400
VIOLATIONS_BYTES = 3000

CODES: dict[type[ServiceError], grpc.StatusCode] = {
    InvalidRequestError: grpc.StatusCode.INVALID_ARGUMENT,
    TooLargeError: grpc.StatusCode.RESOURCE_EXHAUSTED,
    OutOfMemoryError: grpc.StatusCode.RESOURCE_EXHAUSTED,
    OverloadedError: grpc.StatusCode.UNAVAILABLE,
    NoRoomError: grpc.StatusCode.UNAVAILABLE,
    ModelLoadingError: grpc.StatusCode.UNAVAILABLE,
    UnknownServiceError: grpc.StatusCode.NOT_FOUND,
    UnknownModelError: grpc.StatusCode.NOT_FOUND,
    NoModelError: grpc.StatusCode.NOT_FOUND,
    ModelNotReadyError: grpc.StatusCode.FAILED_PRECONDITION,
    NoSuchTaskError: grpc.StatusCode.FAILED_PRECONDITION,
    TooManyTokensError: grpc.StatusCode.RESOURCE_EXHAUSTED,
    StoppingError: grpc.StatusCode.UNAVAILABLE,
    InternalError: grpc.StatusCode.INTERNAL,
}

# Clients that retry wait for these as long as they are told (gRPC's proposal A6): their own waits end sooner than it
# takes to load a model. From a server that is overloaded they are left to their own, which spread them.
AWAITED = (ModelLoadingError, NoRoomError)


def status_of(error: ServiceError) -> tuple[grpc.StatusCode, Status]:
    """The code and the google.rpc.Status of a refusal."""
    code = CODES[type(error)]
    details: list[Message] = [ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=error.metadata)]
    if isinstance(error, InvalidRequestError):
        details.append(_bad_request(error.violations))
    if isinstance(error, BusyError):
        delay = Duration()
        delay.FromNanoseconds(int(error.retry_seconds * 1e9))
        details.append(RetryInfo(retry_delay=delay))
    number: int = code.value[0]
    message = _shortened(str(error), MESSAGE_CHARACTERS)
    return code, Status(code=number, message=message, details=map(_packed, details))


async def refuse(error: ServiceError, context: grpc.aio.ServicerContext[Question, Answer]) -> NoReturn:
    """End a call over gRPC with the status of a refusal."""
    code, status = status_of(error)
    trailers: list[tuple[str, str | bytes]] = [("grpc-status-details-bin", status.SerializeToString())]
    if isinstance(error, AWAITED):
        trailers.append(("grpc-retry-pushback-ms", str(int(error.retry_seconds * 1000))))
    await context.abort(code, status.message, tuple(trailers))


def _bad_request(violations: Sequence[Violation]) -> BadRequest:
    """The violations, as many as fit; a last one counts those that did not."""
    told = BadRequest()
    for position, violation in enumerate(violations):
        if told.ByteSize() > VIOLATIONS_BYTES:
            rest = len(violations) - position
            told.field_violations.add(field="request", description=f"{rest} more fields are wrong")
            break
        field = _shortened(violation.field, FIELD_CHARACTERS)
        description = _shortened(violation.description, DESCRIPTION_CHARACTERS)
        told.field_violations.add(field=field, description=description)
    return told


def _shortened(text: str, characters: int) -> str:
    return text if len(text) <= characters else f"{text[: characters - 1]}…"


def _packed(detail: Message) -> Any:
    packed = Any()
    packed.Pack(detail)
    return packed
