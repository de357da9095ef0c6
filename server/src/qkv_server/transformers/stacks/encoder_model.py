"""Loaded encoders: tokens to one vector for each text, or to all that a model computes of one text.

Letters in the shapes: n texts, L tokens of one of them, D hidden size, H heads, K labels.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from qkv_server.transformers.layers.input_embedding import InputEmbedding
from qkv_server.transformers.layers.linear import Linear
from qkv_server.transformers.stacks.embedding import Pooling, normalize, packs, pool
from qkv_server.transformers.stacks.encoder import Encoder
from qkv_server.transformers.stacks.stepping import as_ids

Array = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, slots=True)
class EncoderDescription:
    """What tells an encoder from others, beside its parameters."""

    architecture: str  # model_type of its config
    vocabulary_size: int
    hidden_size: int  # D
    layers: int
    heads: int  # H
    context_tokens: int  # the most that it can read
    text_tokens: int  # the most that it was made to read of a text; longer texts are to be cut
    pooling: Pooling  # that it was trained with
    normalized: bool  # whether its vectors are meant to have length 1
    labels: tuple[str, ...] = ()  # K, that it gives to tokens


@dataclass(frozen=True, eq=False, kw_only=True, slots=True)
class EncoderStates:
    """What was asked of a text of L tokens. Layers are numbered from 0, in the order asked."""

    hidden_states: tuple[tuple[int, Array], ...] = ()  # layer and (L, D); 0 is the embedding, i is after layer i
    attentions: tuple[tuple[int, Array], ...] = ()  # layer and (heads asked, L, L); 0 is the first layer
    label_probabilities: Array | None = None  # (L, K)


@dataclass(frozen=True, eq=False, slots=True)
class EncoderModel:
    """An encoder. Its methods may be called from several threads."""

    description: EncoderDescription
    embedding: InputEmbedding
    encoder: Encoder
    classifier: Linear | None = None  # (K, D), of labels for tokens

    def embed(
        self, texts: Sequence[Sequence[int]], pooling: Pooling | None = None, normalized: bool | None = None
    ) -> Array:
        """One vector for each of n texts, given as tokens: (n, D). A text without tokens gets zeros.

        Pooling and normalization are those that the model was trained with, unless others are given. It computes in the
        calling thread; `embedding_queue` uses several. Raises ValueError for a text of more than `context_tokens`
        tokens, or for tokens that the vocabulary does not have.
        """
        pooling = pooling or self.description.pooling
        self.check(texts)
        vectors = np.zeros((len(texts), self.description.hidden_size), np.float32)
        with_tokens = [number for number, text in enumerate(texts) if len(text)]
        for pack in packs([len(texts[number]) for number in with_tokens]):
            numbers = [with_tokens[place] for place in pack]
            of_pack = [texts[number] for number in numbers]
            vectors[numbers] = pool(self.states(of_pack), [len(text) for text in of_pack], pooling)
        return normalize(vectors) if (self.description.normalized if normalized is None else normalized) else vectors

    def check(self, texts: Sequence[Sequence[int]]) -> None:
        """Raise ValueError unless the model can read all texts."""
        for number, text in enumerate(texts):
            self._check(text, f"text {number}")

    def states(self, texts: Sequence[Sequence[int]]) -> Array:
        """The last hidden states (N, D) of the N tokens of some texts, computed together; none is empty."""
        return self.encoder(self._embedded(texts), [len(text) for text in texts])

    def encode(
        self,
        ids: Sequence[int],
        hidden_states: Sequence[int] = (),
        attentions: Sequence[int] = (),
        heads: Sequence[int] = (),
        labels: bool = False,
    ) -> EncoderStates:
        """What the model computes of one text: chosen layers, which may be counted from the last as −1, and heads.

        No heads are all heads. Raises ValueError as `embed` does, for no tokens, for layers or heads that the model
        does not have, and for labels if it has none.
        """
        d = self.description
        if not ids:
            raise ValueError("the text has no tokens")
        self._check(ids, "the text")
        if labels and self.classifier is None:
            raise ValueError("the model has no labels for tokens")
        states_of = [_counted(layer, d.layers + 1, "layer") for layer in hidden_states]
        maps_of = [_counted(layer, d.layers, "layer") for layer in attentions]
        of_heads = [_counted(head, d.heads, "head") for head in heads] or range(d.heads)
        states: dict[int, Array] = {}
        maps: dict[int, Array] = {}

        def watch(layer: int, x: Array) -> None:
            if layer in states_of:
                states[layer] = x.copy()
            if layer in maps_of:
                maps[layer] = self.encoder.maps(layer, x, of_heads)

        last = self.encoder(self._embedded([ids]), [len(ids)], watch)
        return EncoderStates(
            hidden_states=tuple((layer, states[layer]) for layer in states_of),
            attentions=tuple((layer, maps[layer]) for layer in maps_of),
            label_probabilities=_softmax(self.classifier(last)) if labels and self.classifier is not None else None,
        )

    def _embedded(self, texts: Sequence[Sequence[int]]) -> Array:
        """The tokens of texts as they enter the encoder, packed (N, D)."""
        ids = np.concatenate([np.asarray(text, np.int64) for text in texts])
        return self.embedding(ids, np.concatenate([np.arange(len(text)) for text in texts]))

    def _check(self, ids: Sequence[int], what: str) -> None:
        """Raise ValueError unless the model can read these tokens."""
        if len(ids) > self.description.context_tokens:
            raise ValueError(f"{what} has {len(ids)} tokens, the model reads at most {self.description.context_tokens}")
        try:
            as_ids(ids, self.description.vocabulary_size)
        except ValueError as error:
            raise ValueError(f"{what}: {error}") from None


def _counted(number: int, count: int, what: str) -> int:
    """A number from 0; from the last if it is negative."""
    if not -count <= number < count:
        raise ValueError(f"{what} {number} of {count}, expected {-count} to {count - 1}")
    return number % count


def _softmax(logits: Array) -> Array:
    """Probabilities (L, K) of logits (L, K), in place."""
    logits -= logits.max(axis=-1, keepdims=True)
    np.exp(logits, out=logits)
    logits /= logits.sum(axis=-1, keepdims=True)
    return logits
