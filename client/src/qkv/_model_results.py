"""What comes back of whole models, but for text in pieces: descriptions, tokens, vectors, and what layers compute."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from qkv import codec
from qkv._names import choice_name
from qkv.v1 import models_pb2
from qkv.v1.models_pb2 import EmbedResponse, EncodeResponse
from qkv.wire import Received

Array = npt.NDArray[Any]

ModelStateName = Literal["loading", "ready", "failed"]
TaskName = Literal["embed", "encode", "generate", "chat", "summarize", "translate"]

PLAIN = (  # fields of the message that are as they are here
    *("name", "reason", "architecture", "parameters", "weight_bytes", "hidden_size", "layers", "decoder_layers"),
    *("heads", "context_tokens", "vocabulary_size"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A model of the server's repository; numbers are 0 where the server does not know them, as of a failed model."""

    name: str
    state: ModelStateName
    reason: str  # why it cannot be used; of a ready one that it is not in memory, or older than its files; empty else
    architecture: str  # as its config calls it: bert, llama, t5, marian
    tasks: tuple[TaskName, ...]
    parameters: int
    weight_bytes: int
    weight_type: np.dtype[Any] | None
    hidden_size: int
    layers: int
    decoder_layers: int  # of an encoder-decoder
    heads: int
    context_tokens: int  # the most tokens that it reads at a time; 0: no bound of its own
    vocabulary_size: int
    languages: tuple[tuple[str, str], ...]  # pairs (source, target) that it was made to translate
    labels: tuple[str, ...]  # that `encode` gives tokens

    @classmethod
    def from_message(cls, message: models_pb2.Model) -> "Model":
        """The description that a response carries."""
        return cls(
            **{name: getattr(message, name) for name in PLAIN},
            state=choice_name(models_pb2.ModelState, "MODEL_STATE_", message.state),
            tasks=tuple(choice_name(models_pb2.Task, "TASK_", task) for task in message.tasks),
            weight_type=codec.DTYPES.get(message.weight_type),
            languages=tuple((pair.source, pair.target) for pair in message.languages),
            labels=tuple(message.labels),
        )


@dataclass(frozen=True, slots=True)
class Token:
    """A token of a text: text[begin:end] is where it came from, empty for those that no text made."""

    id: int
    piece: str  # as the tokenizer writes it
    begin: int
    end: int
    special: bool  # the model's and not the text's: a beginning, a separator, an end


@dataclass(frozen=True, slots=True)
class TokenLabel:
    """What a model says of a token: the likeliest label and its probability."""

    label: str
    probability: float


@dataclass(frozen=True, eq=False, slots=True, kw_only=True)
class EmbeddingResult:
    """The vectors of N texts, and what was read of each."""

    embeddings: Array  # float32 (N, D), read-only
    tokens: tuple[int, ...]  # read of each text
    truncated: tuple[bool, ...]  # whether a text was longer than the model reads, and cut
    model: str

    @classmethod
    def from_response(cls, response: Received[EmbedResponse]) -> "EmbeddingResult":
        """The result that a response carries."""
        message = response.message
        embeddings = codec.from_tensor(message.embeddings, "embeddings", response.apart.get("embeddings.data"))
        return cls(
            embeddings=embeddings,
            tokens=tuple(message.tokens),
            truncated=tuple(message.truncated),
            model=message.model,
        )


@dataclass(frozen=True, eq=False, slots=True, kw_only=True)
class EncodeResult:
    """What a model computed of a text of L tokens. The arrays are of the layers asked, by their numbers from 0."""

    tokens: tuple[Token, ...]
    hidden_states: Mapping[int, Array]  # float32 (L, D); 0 is the embedding, i what comes after layer i
    attentions: Mapping[int, Array]  # float32 (heads asked, L, L): of each query over the keys; 0 is layer 1
    labels: tuple[TokenLabel, ...]  # of each token, if asked
    truncated: bool
    model: str

    @classmethod
    def from_response(cls, response: Received[EncodeResponse]) -> "EncodeResult":
        """The result that a response carries."""
        message = response.message
        return cls(
            tokens=tokens_of(message.tokens),
            hidden_states=_layers(message.hidden_states, "hidden_states"),
            attentions=_layers(message.attentions, "attentions"),
            labels=tuple(TokenLabel(label.label, label.probability) for label in message.labels),
            truncated=message.truncated,
            model=message.model,
        )


def tokens_of(messages: Iterable[models_pb2.Token]) -> tuple[Token, ...]:
    """The tokens that a response carries."""
    return tuple(Token(each.id, each.piece, each.begin, each.end, each.special) for each in messages)


def _layers(messages: Iterable[models_pb2.Layer], field: str) -> dict[int, Array]:
    return {
        layer.layer: codec.from_tensor(layer.values, f"{field}[{place}].values") for place, layer in enumerate(messages)
    }
