"""From a failed gRPC call to an exception of this package, details read (AIP-193)."""

from collections.abc import Iterable
from typing import Any, TypeVar

import grpc
from google.protobuf.message import DecodeError, Message

from qkv._errors import (
    CallError,
    CancelledError,
    DeadlineExceededError,
    FailedPreconditionError,
    InvalidRequestError,
    NotFoundError,
    TooLargeError,
    UnavailableError,
    Violation,
)
from qkv.third_party.google_rpc_pb2 import BadRequest, ErrorInfo, RetryInfo, Status

DETAILS_KEY = "grpc-status-details-bin"
TYPE_URL = "type.googleapis.com/google.rpc."

M = TypeVar("M", bound=Message)

ERRORS: dict[grpc.StatusCode, type[CallError]] = {
    grpc.StatusCode.INVALID_ARGUMENT: InvalidRequestError,
    grpc.StatusCode.NOT_FOUND: NotFoundError,
    grpc.StatusCode.FAILED_PRECONDITION: FailedPreconditionError,
    grpc.StatusCode.RESOURCE_EXHAUSTED: TooLargeError,
    grpc.StatusCode.UNAVAILABLE: UnavailableError,
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineExceededError,
    grpc.StatusCode.CANCELLED: CancelledError,
}


def call_error(code: grpc.StatusCode, message: str, trailers: Iterable[Any] | None) -> CallError:
    """The exception for a failed call, with the details that its trailing metadata carries."""
    status = _status(trailers)
    info = _detail(status, ErrorInfo())
    error = ERRORS.get(code, CallError)(message, code=code, reason=info.reason, metadata=dict(info.metadata))
    if isinstance(error, InvalidRequestError):
        violations = _detail(status, BadRequest()).field_violations
        error.violations = tuple(Violation(v.field, v.description) for v in violations)
    if isinstance(error, UnavailableError) and (retry := _detail(status, RetryInfo())).HasField("retry_delay"):
        error.retry_delay = retry.retry_delay.ToTimedelta().total_seconds()
    return error


def _status(trailers: Iterable[Any] | None) -> Status:
    for key, value in trailers or ():
        if key == DETAILS_KEY:
            try:
                return Status.FromString(value)
            except DecodeError:
                break
    return Status()


def _detail(status: Status, empty: M) -> M:
    """The detail of the type of the given empty message, or that message when there is none."""
    for detail in status.details:
        if detail.type_url == TYPE_URL + empty.DESCRIPTOR.name:
            empty.ParseFromString(detail.value)
            break
    return empty
