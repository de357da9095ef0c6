"""What a generation is: the request, and the events that answer it. How it is carried out is the engine's matter."""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, auto

from qkv_server.transformers.generation.constraints import NONE, Constraints
from qkv_server.transformers.generation.sampling import LogProbability, Sampling


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationRequest:
    """A text to be continued."""

    prompt: tuple[int, ...]  # the tokens that a decoder continues; of an encoder-decoder, those of the source
    max_tokens: int = 0  # of the answer, its end included; 0: as the model was made for, within the engine's bound
    sampling: Sampling = field(default_factory=Sampling)
    constraints: Constraints = NONE
    seed: int | None = None  # from 0; None: one is chosen
    stop: tuple[str, ...] = ()  # strings before which the answer ends
    top_log_probabilities: int | None = None  # how many likeliest tokens to tell beside each; None: tell of no token


class FinishReason(Enum):
    """Why an answer ended."""

    END = auto()  # the model ended it
    STOP = auto()  # a stop string came
    LENGTH = auto()  # it reached the most tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens and seconds that an answer took."""

    input_tokens: int
    cached_tokens: int  # of the input, known from earlier requests
    output_tokens: int  # that the model chose, its end included
    queue_seconds: float  # from the arrival to the begin of the work
    first_token_seconds: float  # from there to the first token
    total_seconds: float  # from the arrival to the end


@dataclass(frozen=True, slots=True)
class GeneratedToken:
    """A token of the answer, and the likeliest ones in its place, the likeliest first."""

    token: LogProbability
    likeliest: tuple[LogProbability, ...]


@dataclass(frozen=True, slots=True)
class Piece:
    """What has come since the last event: text of whole characters, and tokens if their probabilities were asked."""

    text: str
    tokens: tuple[GeneratedToken, ...] = ()


@dataclass(frozen=True, slots=True)
class Finished:
    """The last event of an answer."""

    reason: FinishReason
    usage: Usage
    seed: int | None = None  # if there was any chance
    rest: Piece = Piece("")  # what has come since the last piece


@dataclass(frozen=True, slots=True)
class Failed:
    """The last event of an answer that cannot be finished."""

    error: Exception


Event = Piece | Finished | Failed
OnEvent = Callable[[Event], None]


class RefusedError(Exception):
    """A request that is not taken on; nothing was done for it."""


class ContextOverflowError(RefusedError):
    """More tokens than the model reads, or than the engine lets an answer have."""


class EmptyPromptError(RefusedError):
    """There are no tokens to continue."""

    def __init__(self) -> None:
        super().__init__("the prompt has no tokens, expected one at least")


class QueueFullError(RefusedError):
    """No further stream can begin, and the queue is full, too."""

    def __init__(self, queue: int) -> None:
        super().__init__(f"no further stream can begin, and the queue of {queue} is full")
        self.queue = queue
