"""The options of calls that are answered with text."""

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

from qkv._fields import set_fields
from qkv.v1.models_pb2 import Sampling

SAMPLING = tuple(field.name for field in Sampling.DESCRIPTOR.fields)


class SamplingOptions(TypedDict, total=False):
    """How the next token is chosen; None, and what is left out, is the contract's default: always the likeliest."""

    temperature: float | None
    """Divisor of logits; 0 takes the likeliest token and no chance."""
    repetition_penalty: float | None
    """Logits of tokens that have come before are divided by it if positive, else multiplied; 1: none."""
    top_k: int | None
    """Of all tokens, the so many likeliest; 0: all."""
    top_p: float | None
    """Of these the fewest likeliest whose probabilities make so much; 1: all."""
    min_p: float | None
    """Of these the ones at least so likely as the likeliest times this; 0: all."""
    seed: int | None
    """Equal seeds give equal answers; one is chosen unless said."""
    timeout: float | None
    """Seconds until DeadlineExceededError, of the whole answer; none unless said."""
    wait_for_ready: bool | None
    """Whether to wait for the server to come up; the client's own unless said."""


class GenerateOptions(SamplingOptions, total=False):
    """What generating takes; None, and what is left out, is the contract's default."""

    model: str | None
    """The model; may be left out where the server has one alone that can."""
    max_tokens: int | None
    """The most tokens of the answer; what the context holds, or the server's bound, unless said."""
    stop: Sequence[str] | None
    """Strings at which the answer ends, before them."""
    top_log_probabilities: int | None
    """The result has, for each token, its log-probability and those of so many likeliest; none unless said."""


class SummarizeOptions(SamplingOptions, total=False):
    """What summarizing takes; None, and what is left out, is the contract's default."""

    model: str | None
    """The model; may be left out where the server has one alone that can."""
    max_tokens: int | None
    """The most tokens of the summary of a part; as the model was made for unless said."""


class TranslateOptions(SamplingOptions, total=False):
    """What translating takes; None, and what is left out, is the contract's default."""

    model: str | None
    """The model; the one that translates between the two languages unless said."""


def set_sampling(sampling: Sampling, options: Mapping[str, Any]) -> None:
    """Fill the message from those options that are its fields; no option makes no field."""
    set_fields(sampling, {name: options.get(name) for name in SAMPLING})
