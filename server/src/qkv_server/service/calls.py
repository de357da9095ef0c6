"""Carries out calls, whatever transport brought them: those with one answer, and those answered in pieces.

Messages are parsed and serialized by the workers, not by the event loop, which large messages would keep from every
other call. Tiny calls are answered by the loop at once: handing one over takes longer than it does.
"""

import logging
import time
import uuid
from collections.abc import AsyncGenerator, Callable, Iterator
from concurrent.futures import Future
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

from google.protobuf.message import Message

from qkv.v1.attention_pb2 import (
    AttentionRequest,
    AttentionResponse,
    DifferentiateRequest,
    DifferentiateResponse,
    MergeRequest,
    MergeResponse,
)
from qkv.wire import Draft, Received
from qkv_server.service.attend import attend
from qkv_server.service.differentiate import differentiate
from qkv_server.service.errors import InternalError, OutOfMemoryError, ServiceError
from qkv_server.service.following import followed
from qkv_server.service.limits import Limits
from qkv_server.service.merge import merge
from qkv_server.service.pieces import Pieces
from qkv_server.service.workers import Prepared, Turn, Workers

log = logging.getLogger(__name__)

R = TypeVar("R")

SMALL = 2**14  # bytes of a request that the event loop reads


class Method(NamedTuple):
    """A method: its messages, and what prepares a call of it."""

    request: type[Message]
    response: type[Message]
    prepare: Callable[[Received[Any], Limits, float], Prepared]


class SharedMethod(NamedTuple):
    """A method whose calls share their work: its messages, and what begins to answer a call of it, in a worker.

    `begin` raises ServiceError for a refusal, and returns what the answer will be, which a worker makes in its turn.
    """

    request: type[Message]
    response: type[Message]
    begin: Callable[[Received[Any], Limits, Turn], Future[Draft[Any]]]


class StreamMethod(NamedTuple):
    """A method that is answered in pieces: its messages, and what begins to answer a call of it, in a worker.

    `begin` raises ServiceError for a refusal, and returns when others make the pieces.
    """

    request: type[Message]
    response: type[Message]
    begin: Callable[[Received[Any], Limits, float, Pieces], None]


METHODS = {
    "Attend": Method(AttentionRequest, AttentionResponse, attend),
    "Merge": Method(MergeRequest, MergeResponse, merge),
    "Differentiate": Method(DifferentiateRequest, DifferentiateResponse, differentiate),
}


@dataclass(frozen=True, slots=True)
class Calls:
    """Where calls are computed, and within what limits."""

    workers: Workers
    limits: Limits

    async def answer(
        self,
        method: Method | SharedMethod,
        size: int,
        read: Callable[[], Received[Any]],
        write: Callable[[Draft[Any]], R],
    ) -> R:
        """What is written of the answer to a request of so many bytes, when it is read.

        Raises ServiceError for whatever goes wrong. Cancelled, it stops the arithmetic.
        """
        arrived = time.monotonic()

        with _told():
            if isinstance(method, SharedMethod):
                return await self.workers.run(lambda turn: followed(method.begin(read(), self.limits, turn), write))

            def prepare() -> Prepared:
                return method.prepare(read(), self.limits, arrived)

            if size > SMALL:
                return await self.workers.run(lambda turn: write(prepare().answer(turn)))
            prepared = prepare()
            if prepared.tiny:
                return write(prepared.answer(Turn()))
            return await self.workers.run(lambda turn: write(prepared.answer(turn)))

    async def stream(
        self, method: StreamMethod, read: Callable[[], Received[Any]], write: Callable[[Draft[Any]], R]
    ) -> AsyncGenerator[R, None]:
        """What is written of each piece of the answer to a request, when it is read.

        Raises ServiceError for whatever goes wrong, also after the first pieces. Closed or cancelled, it ends the work.
        """
        arrived = time.monotonic()
        with _told(), closing(Pieces()) as pieces:
            await self.workers.run(lambda _: method.begin(read(), self.limits, arrived, pieces))
            async for piece in pieces:
                yield write(piece)


@contextmanager
def _told() -> Iterator[None]:
    """Within it, whatever goes wrong is told as a ServiceError."""
    try:
        yield
    except ServiceError:
        raise
    except MemoryError:
        raise OutOfMemoryError from None
    except Exception:
        incident = uuid.uuid4().hex[:12]
        log.exception("incident %s: a request failed unexpectedly", incident)
        raise InternalError(incident) from None
