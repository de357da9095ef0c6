"""Answers in pieces: a generation is submitted, and its events become messages."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from google.protobuf.message import Message

from qkv import Violation
from qkv.v1 import models_pb2
from qkv.v1.models_pb2 import FinishReason, GenerateResponse
from qkv.wire import Draft
from qkv_server.service.errors import InvalidRequestError, OverloadedError, TooManyTokensError
from qkv_server.service.pieces import Pieces
from qkv_server.service.violations import NO_TOKENS
from qkv_server.transformers.errors import TemplateError
from qkv_server.transformers.generation.request import (
    ContextOverflowError,
    EmptyPromptError,
    Event,
    Failed,
    Finished,
    OnEvent,
    Piece,
    QueueFullError,
    Usage,
)
from qkv_server.transformers.generation.sampling import LogProbability, Sampling

if TYPE_CHECKING:
    from qkv_server.service.models.served import ServedModel

RETRY_SECONDS = 1.0  # of what is waited for, an answer


class Handle(Protocol):
    """What was submitted."""

    @property
    def cancel(self) -> Callable[[], None]:
        """Ends it."""


Submit = Callable[[OnEvent], Handle]  # raises RefusedError


class Rewrite(Protocol):
    """Has a text rewritten: `rewriting.rewrite` by a model, in one way."""

    def __call__(
        self, text: str, on_event: OnEvent, *, max_tokens: int = 0, sampling: Sampling, seed: int | None
    ) -> Handle:
        """Begin; raises RefusedError, TextError and TemplateError."""


@dataclass(frozen=True, slots=True)
class Answering:
    """How the events of one generation become messages of a kind.

    `field` is that of the request whose text is read; `arrived` a time of `time.monotonic`.
    """

    kind: type[Message]
    field: str
    model: "ServedModel"
    arrived: float
    pieces: Pieces

    def begin(self, submit: Submit) -> None:
        """Submit the generation; it is cancelled when the pieces are closed. Raises ServiceError for a refusal."""
        waited = time.monotonic() - self.arrived

        def tell(event: Event) -> None:
            if isinstance(event, Failed):
                self.pieces.fail(event.error)
                return
            try:
                self.pieces.put(Draft(_message(self.kind, event, self.model, waited)))
            except Exception as error:
                self.pieces.fail(error)  # nobody else would: the engine only ends the generation
                raise
            if isinstance(event, Finished):
                self.pieces.end()

        with refusals(self.field):
            self.pieces.on_close(submit(tell).cancel)


@contextmanager
def refusals(field: str) -> Iterator[None]:
    """Within it, what a model refuses is refused by the service; the text that it reads stands in a field."""
    try:
        yield
    except EmptyPromptError:
        raise InvalidRequestError([Violation(field, NO_TOKENS)]) from None
    except TemplateError as error:
        raise InvalidRequestError([Violation(field, str(error))]) from None
    except ContextOverflowError as error:
        raise TooManyTokensError(str(error)) from None
    except QueueFullError as error:
        raise OverloadedError(error.queue, RETRY_SECONDS) from None


def _message(kind: type[Message], event: Piece | Finished, model: "ServedModel", waited: float) -> Any:
    """An event as a message of an answer; only GenerateResponse has tokens and a seed."""
    message: Any = kind()
    piece = event.rest if isinstance(event, Finished) else event
    message.text = piece.text
    for each in piece.tokens if kind is GenerateResponse else ():
        likeliest = [_probability(one, model) for one in each.likeliest]
        message.tokens.add(token=_probability(each.token, model), likeliest=likeliest)
    if isinstance(event, Finished):
        message.finish_reason = FinishReason.Value(f"FINISH_REASON_{event.reason.name}")
        message.usage.CopyFrom(_usage(event.usage, waited))
        message.model = model.name
        if kind is GenerateResponse and event.seed is not None:
            message.seed = event.seed
    return message


def _probability(one: LogProbability, model: "ServedModel") -> models_pb2.TokenProbability:
    piece = model.files.tokenizer.piece(one.id)
    return models_pb2.TokenProbability(id=one.id, piece=piece, log_probability=one.log_probability)


def _usage(usage: Usage, waited: float) -> models_pb2.Usage:
    """What an answer took, with the seconds that it had waited for before it was submitted."""
    return models_pb2.Usage(
        input_tokens=usage.input_tokens,
        cached_tokens=usage.cached_tokens,
        output_tokens=usage.output_tokens,
        queue_seconds=waited + usage.queue_seconds,
        first_token_seconds=usage.first_token_seconds,
        total_seconds=waited + usage.total_seconds,
    )
