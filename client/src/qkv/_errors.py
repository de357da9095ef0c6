"""What can go wrong, as a tree: QkvError above everything, CallError for what the server or the network answered."""

from dataclasses import dataclass

import grpc


@dataclass(frozen=True, slots=True)
class Violation:
    """One wrong field of a request: its path, as `visibility.mask`, and what was expected."""

    field: str
    description: str

    def __str__(self) -> str:
        return f"{self.field}: {self.description}"


class QkvError(Exception):
    """Base of every error that this package raises on purpose."""


class MalformedOperandError(QkvError, ValueError):
    """An operand whose bytes do not make an array. `violations` names every wrong field of it."""

    def __init__(self, violations: tuple[Violation, ...]) -> None:
        super().__init__("; ".join(map(str, violations)))
        self.violations = violations


class CallError(QkvError):
    """A call that did not succeed.

    `code` is the gRPC status, `reason` a constant that programs can compare (as INVALID_REQUEST; empty when the error
    is not from a qkv server), `metadata` further facts by name.
    """

    def __init__(
        self, message: str, *, code: grpc.StatusCode, reason: str = "", metadata: dict[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.metadata = metadata or {}


class InvalidRequestError(CallError, ValueError):
    """The request has no answer. `violations` names every wrong field and what was expected there."""

    violations: tuple[Violation, ...] = ()


class TooLargeError(CallError):
    """The request, or the answer it asks for, is larger than the server admits; trying again will not help."""


class NotFoundError(CallError):
    """What the call names, as a model, is not there."""


class FailedPreconditionError(CallError):
    """What the call names is there and cannot do what is asked: a model that has no such task, or failed to load."""


class UnavailableError(CallError):
    """The server cannot be reached, is overloaded, is stopping, or is loading the model.

    `retry_delay` is its advice in seconds, or None.
    """

    retry_delay: float | None = None


class DeadlineExceededError(CallError, TimeoutError):
    """The answer did not come within the timeout."""


class CancelledError(CallError):
    """The call was cancelled before it was answered, or its client is closed."""


class UnfinishedError(QkvError):
    """The result of an answer that comes in pieces was asked for before its end."""


def client_closed() -> CancelledError:
    """What a call on a closed client raises: the same as one that was under way when the client was closed."""
    return CancelledError("the client is closed", code=grpc.StatusCode.CANCELLED)
