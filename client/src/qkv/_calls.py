"""What a call is, apart from how it is carried: the core that the sync and the async client share."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from google.protobuf.message import Message

from qkv.wire import Draft

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Method:
    """A method: its path, and the type of what comes back."""

    path: str
    response_type: type[Message]


@dataclass(frozen=True, slots=True)
class TextCall:
    """A call ready to be sent that is answered with a text in pieces, whose messages are read by `_reading`.

    Such an answer takes as long as it is, so that without a timeout of its own it has none.
    """

    method: Method
    request: Draft[Message]
    timeout: float | None = None  # None: no deadline
    wait_for_ready: bool | None = None  # None: the client's own


@dataclass(frozen=True, slots=True)
class Call(Generic[R]):
    """A call ready to be sent, and how its response becomes a result."""

    method: Method
    request: Draft[Message]
    result: Callable[[Any], R]
    timeout: float | None = None  # None: the client's own
    wait_for_ready: bool | None = None  # None: the client's own
