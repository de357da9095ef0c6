"""Why the service does not answer, in a form that any transport can tell its caller."""

from collections.abc import Iterable, Mapping, Sequence

from qkv import Violation

STOPPING = "the server is stopping"  # also what a call's task is cancelled with
TEXT_CHARACTERS = 100  # told of what the caller called something, which may be as long as a request


class ServiceError(Exception):
    """Base of the refusals. `reason` is a constant that programs can compare, `metadata` further facts by name."""

    reason: str

    def __init__(self, message: str, metadata: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.metadata = dict(metadata or {})


class InvalidRequestError(ServiceError):
    """The request has no answer; `violations` names every wrong field."""

    reason = "INVALID_REQUEST"

    def __init__(self, violations: Sequence[Violation]) -> None:
        super().__init__("; ".join(map(str, violations)))
        self.violations = tuple(violations)


class TooLargeError(ServiceError):
    """Answering would take more than the server admits, now or ever."""

    reason = "REQUEST_TOO_LARGE"

    def __init__(self, what: str, needed: int, limit: int) -> None:
        super().__init__(
            f"{what} would take {needed} bytes, this server admits {limit}",
            {"neededBytes": str(needed), "limitBytes": str(limit)},
        )


class OutOfMemoryError(ServiceError):
    """The machine had less memory than the server was told to use."""

    reason = "OUT_OF_MEMORY"

    def __init__(self) -> None:
        super().__init__("the server ran out of memory while computing the answer")


class BusyError(ServiceError):
    """Base of the refusals of what can be answered later; `retry_seconds` is when to try again."""

    def __init__(self, message: str, retry_seconds: float) -> None:
        super().__init__(f"{message}; try again in {retry_seconds:g} s")
        self.retry_seconds = retry_seconds


class OverloadedError(BusyError):
    """The server is busy and its queue is full."""

    reason = "OVERLOADED"

    def __init__(self, queue: int, retry_seconds: float) -> None:
        super().__init__(f"busy, and the queue of {queue} calls is full", retry_seconds)


class NoRoomError(BusyError):
    """The model is not in memory, and those that are in use leave it no room."""

    reason = "NO_ROOM"

    def __init__(self, model: str, why: str, retry_seconds: float) -> None:
        super().__init__(f"model {model!r} {why}", retry_seconds)


class ModelLoadingError(BusyError):
    """The model is being loaded, or, if none was named, some that may be able to do what was asked."""

    reason = "MODEL_LOADING"

    def __init__(self, models: Iterable[str], retry_seconds: float) -> None:
        super().__init__(f"being loaded: {', '.join(map(repr, models))}", retry_seconds)


class UnknownServiceError(ServiceError):
    """The server knows no health of a service of that name."""

    reason = "UNKNOWN_SERVICE"

    def __init__(self, service: str, known: Iterable[str]) -> None:
        super().__init__(f"no service {_cut(service)!r}, expected one of {', '.join(map(repr, known))}")


class UnknownModelError(ServiceError):
    """The server has no model of that name, or not in that version."""

    reason = "UNKNOWN_MODEL"

    def __init__(self, model: str, known: Iterable[str]) -> None:
        expected = ", ".join(map(repr, known))
        super().__init__(
            f"no model {_cut(model)!r}, " + (f"expected one of {expected}" if expected else "there is none here")
        )


class NoModelError(ServiceError):
    """No model was named, and no ready one of this server can do what was asked."""

    reason = "UNKNOWN_MODEL"

    def __init__(self, task: str | None) -> None:
        super().__init__("this server has no ready model" + (f" that can {task}" if task is not None else ""))


class ModelNotReadyError(ServiceError):
    """The model is there and could not be loaded."""

    reason = "MODEL_NOT_READY"

    def __init__(self, model: str, why: str) -> None:
        super().__init__(f"model {model!r} is not ready: {why}", {"model": model})


class NoSuchTaskError(ServiceError):
    """The model is ready and was not made for what was asked."""

    reason = "NO_SUCH_TASK"

    def __init__(self, model: str, task: str, tasks: Iterable[str]) -> None:
        can = ", ".join(tasks) or "nothing"
        super().__init__(f"model {model!r} cannot {_cut(task)}; it can {can}", {"model": model})


class TooManyTokensError(ServiceError):
    """More tokens than the model reads at a time, or than the server admits."""

    reason = "TOO_MANY_TOKENS"


class StoppingError(ServiceError):
    """The server stops, and ends what it was working on."""

    reason = "STOPPING"

    def __init__(self) -> None:
        super().__init__(STOPPING)


class InternalError(ServiceError):
    """A defect of ours. The caller hears a number, under which the log has the whole story."""

    reason = "INTERNAL"

    def __init__(self, incident: str) -> None:
        super().__init__(f"internal error, incident {incident}", {"incident": incident})


def _cut(text: str) -> str:
    """A text of the caller's, or its beginning."""
    return text if len(text) <= TEXT_CHARACTERS else f"{text[:TEXT_CHARACTERS]}…"
