"""The BERT family: BERT (and with it MiniLM, BGE, E5, GTE), RoBERTa, XLM-RoBERTa, CamemBERT, DistilBERT.

"BERT" (Devlin et al., 2019), "RoBERTa" (Liu et al., 2019), "DistilBERT" (Sanh et al., 2019).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from qkv_server.transformers.families import config, parameters
from qkv_server.transformers.files import ModelFiles, Weights
from qkv_server.transformers.layers.feed_forward import FeedForward
from qkv_server.transformers.layers.input_embedding import InputEmbedding
from qkv_server.transformers.layers.linear import Linear
from qkv_server.transformers.layers.normalization import Norm
from qkv_server.transformers.stacks.embedding import Pooling
from qkv_server.transformers.stacks.encoder import Encoder, EncoderLayer, SelfAttention
from qkv_server.transformers.stacks.encoder_model import EncoderDescription, EncoderModel

Array = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Names:
    """How a member of the family calls what all have."""

    prefix: str  # of all tensors, in checkpoints that have a head
    hidden_size: str
    feed_forward_size: str
    layers: str
    heads: str
    activation: str
    layer: str  # what stands before the number of a layer
    query: str
    key: str
    value: str
    output: str
    attention_norm: str
    inner: str
    outer: str
    feed_forward_norm: str


_BERT = _Names(
    prefix="bert.",
    hidden_size="hidden_size",
    feed_forward_size="intermediate_size",
    layers="num_hidden_layers",
    heads="num_attention_heads",
    activation="hidden_act",
    layer="encoder.layer.",
    query="attention.self.query",
    key="attention.self.key",
    value="attention.self.value",
    output="attention.output.dense",
    attention_norm="attention.output.LayerNorm",
    inner="intermediate.dense",
    outer="output.dense",
    feed_forward_norm="output.LayerNorm",
)
_DISTILBERT = _Names(
    prefix="distilbert.",
    hidden_size="dim",
    feed_forward_size="hidden_dim",
    layers="n_layers",
    heads="n_heads",
    activation="activation",
    layer="transformer.layer.",
    query="attention.q_lin",
    key="attention.k_lin",
    value="attention.v_lin",
    output="attention.out_lin",
    attention_norm="sa_layer_norm",
    inner="ffn.lin1",
    outer="ffn.lin2",
    feed_forward_norm="output_layer_norm",
)
_ROBERTA = replace(_BERT, prefix="roberta.")
_NAMES = {
    "bert": _BERT,
    "roberta": _ROBERTA,
    "xlm-roberta": _ROBERTA,
    "camembert": _ROBERTA,
    "distilbert": _DISTILBERT,
}
_TOKENS = "embeddings.word_embeddings"
_POSITIONS = "embeddings.position_embeddings"
_TYPES = "embeddings.token_type_embeddings"
# These count positions from the one after the padding token's number (fairseq).
_OFFSET_POSITIONS = {"roberta", "xlm-roberta", "camembert"}


def build(files: ModelFiles) -> EncoderModel:
    """The encoder that the files describe. Raises ModelFileError."""
    architecture = files.config["model_type"]
    names = _NAMES[architecture]
    if files.config.get("position_embedding_type", "absolute") != "absolute":
        raise config.refusal(files, "position_embedding_type", "'absolute'")
    hidden_size = config.count(files, names.hidden_size)
    head_size = config.head_size(files, names.hidden_size, names.heads)
    prefixed = f"{names.prefix}{_TOKENS}.weight" in files.weights
    tensors = _Tensors(files.weights, names.prefix if prefixed else "", config.number(files, "layer_norm_eps", 1e-12))
    embedding, context_tokens = _embedding(files, tensors, hidden_size)
    layers = [
        _layer(files, names, tensors, f"{names.layer}{number}.", hidden_size, head_size)
        for number in range(config.count(files, names.layers))
    ]
    classifier, labels = _classifier(files, tensors, hidden_size)
    description = EncoderDescription(
        architecture=architecture,
        vocabulary_size=len(embedding.tokens),
        hidden_size=hidden_size,
        layers=len(layers),
        heads=hidden_size // head_size,
        context_tokens=context_tokens,
        text_tokens=min(files.sentence.max_seq_length or context_tokens, context_tokens),
        pooling=Pooling(files.sentence.pooling),
        normalized=files.sentence.normalize,
        labels=labels,
    )
    return EncoderModel(description, embedding, Encoder(layers), classifier)


@dataclass(frozen=True, slots=True)
class _Tensors:
    """The tensors of a checkpoint as parameters of layers."""

    weights: Weights
    prefix: str
    epsilon: float  # of every norm

    def table(self, name: str, rows: int, size: int) -> Array:
        """(rows, size), mapped into memory if the file allows."""
        return self.weights.take(f"{self.prefix}{name}.weight", (rows, size))

    def linear(self, names: Sequence[str], in_size: int, out_size: int) -> Linear:
        """Layers (out_size, in_size) side by side."""
        prefixed = [f"{self.prefix}{name}" for name in names]
        return parameters.linear(self.weights, prefixed, in_size, out_size, biased=True, many_rows=True)

    def norm(self, name: str, size: int) -> Norm:
        """A layer normalization over `size` features."""
        return parameters.layer_norm(self.weights, f"{self.prefix}{name}", size, self.epsilon)


def _embedding(files: ModelFiles, tensors: _Tensors, size: int) -> tuple[InputEmbedding, int]:
    """Words, learned positions, and the first token type, which is that of all tokens of a single text.

    With it the number of positions.
    """
    rows, first = config.count(files, "max_position_embeddings"), _first_position(files)
    if rows <= first:
        raise config.refusal(files, "max_position_embeddings", f"more than {first}, from where on positions count")
    positions = tensors.table(_POSITIONS, rows, size)[first:]
    if f"{tensors.prefix}{_TYPES}.weight" in files.weights:
        positions = positions + tensors.table(_TYPES, config.count(files, "type_vocab_size"), size)[0]
    tokens = tensors.table(_TOKENS, config.count(files, "vocab_size"), size)
    norm = tensors.norm("embeddings.LayerNorm", size)
    return InputEmbedding(tokens, positions=positions, norm=norm), rows - first


def _first_position(files: ModelFiles) -> int:
    """The row of the first position."""
    if files.config["model_type"] not in _OFFSET_POSITIONS:
        return 0
    padding = config.token(files, "pad_token_id")
    return (1 if padding is None else padding) + 1


def _layer(files: ModelFiles, names: _Names, tensors: _Tensors, layer: str, size: int, head_size: int) -> EncoderLayer:
    """The layer whose tensors begin with this name."""
    inner_size = config.count(files, names.feed_forward_size)
    query_key_value = [f"{layer}{name}" for name in (names.query, names.key, names.value)]
    return EncoderLayer(
        attention=SelfAttention(
            tensors.linear(query_key_value, size, size),
            tensors.linear([f"{layer}{names.output}"], size, size),
            size // head_size,
            scale=head_size**-0.5,
        ),
        attention_norm=tensors.norm(f"{layer}{names.attention_norm}", size),
        feed_forward=FeedForward(
            tensors.linear([f"{layer}{names.inner}"], size, inner_size),
            tensors.linear([f"{layer}{names.outer}"], inner_size, size),
            config.activation(files, names.activation),
        ),
        feed_forward_norm=tensors.norm(f"{layer}{names.feed_forward_norm}", size),
    )


def _classifier(files: ModelFiles, tensors: _Tensors, size: int) -> tuple[Linear | None, tuple[str, ...]]:
    """The head that gives labels to tokens, and the labels; none for models that were made for something else."""
    if not any(name.endswith("ForTokenClassification") for name in config.names(files, "architectures")):
        return None, ()
    named = config.mapping(files, "id2label")
    numbers = [str(number) for number in range(len(named))]
    if not numbers or named.keys() != set(numbers):
        raise config.refusal(files, "id2label", 'a label for each number from "0"')
    head = replace(tensors, prefix="")  # the prefix is that of the tensors beneath the head
    return head.linear(["classifier"], size, len(numbers)), tuple(str(named[number]) for number in numbers)
