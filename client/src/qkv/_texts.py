"""Text that comes in pieces: what is read of it, whatever carries the pieces."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from qkv._errors import UnfinishedError
from qkv._names import choice_name
from qkv.v1 import models_pb2
from qkv.v1.models_pb2 import FinishReason, GenerateResponse, SummarizeResponse, TranslateResponse

FinishReasonName = Literal["end", "stop", "length"]
Response: TypeAlias = GenerateResponse | SummarizeResponse | TranslateResponse


@dataclass(frozen=True, slots=True)
class TokenProbability:
    """A token and the natural logarithm of its probability, of the model's own distribution."""

    id: int
    piece: str  # as the tokenizer writes it
    log_probability: float


@dataclass(frozen=True, slots=True)
class GeneratedToken:
    """A token of an answer, and the likeliest in its place, the likeliest first."""

    token: TokenProbability
    likeliest: tuple[TokenProbability, ...]


@dataclass(frozen=True, slots=True)
class Usage:
    """The tokens and the seconds that an answer took."""

    input_tokens: int  # prompt, template, source text
    cached_tokens: int  # of these, known from earlier calls
    output_tokens: int
    queue_seconds: float  # from the arrival to the begin of the work
    first_token_seconds: float  # from there to the first token
    total_seconds: float  # from the arrival to the end


@dataclass(frozen=True, slots=True, kw_only=True)
class TextResult:
    """An answer that has come to its end; `str` of it is its text."""

    text: str
    finish_reason: FinishReasonName  # the model ended it; a stop string came; it has the most tokens it may
    usage: Usage
    model: str
    seed: int | None = None  # which gives the same answer again; None where there was no chance in it
    tokens: tuple[GeneratedToken, ...] = ()  # if log-probabilities were asked

    def __str__(self) -> str:
        return self.text


class Reading:
    """An answer as far as it was read."""

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._tokens: list[GeneratedToken] = []
        self._last: Response | None = None

    def take(self, message: Response) -> str:
        """The text that a message adds, which may be empty."""
        self._pieces.append(message.text)
        if isinstance(message, GenerateResponse):
            self._tokens += map(_generated, message.tokens)
        if message.finish_reason:
            self._last = message
        return message.text

    @property
    def result(self) -> TextResult:
        """The answer, once the last message was read; raises UnfinishedError before."""
        last = self._last
        if last is None:
            raise UnfinishedError("the answer has not come to its end: iterate to it, or call read()")
        return TextResult(
            text="".join(self._pieces),
            finish_reason=choice_name(FinishReason, "FINISH_REASON_", last.finish_reason),
            usage=_usage(last.usage),
            model=last.model,
            seed=last.seed if isinstance(last, GenerateResponse) and last.HasField("seed") else None,
            tokens=tuple(self._tokens),
        )


def _generated(message: models_pb2.GeneratedToken) -> GeneratedToken:
    return GeneratedToken(_probability(message.token), tuple(map(_probability, message.likeliest)))


def _probability(message: models_pb2.TokenProbability) -> TokenProbability:
    return TokenProbability(message.id, message.piece, message.log_probability)


def _usage(message: models_pb2.Usage) -> Usage:
    return Usage(
        input_tokens=message.input_tokens,
        cached_tokens=message.cached_tokens,
        output_tokens=message.output_tokens,
        queue_seconds=message.queue_seconds,
        first_token_seconds=message.first_token_seconds,
        total_seconds=message.total_seconds,
    )
