"""T5 ("Exploring the Limits of Transfer Learning", Raffel et al., 2020): RMSNorm first, no bias but that of distances.

Also T5 1.1, Flan-T5 and mT5: gated feed-forward, an output layer of its own.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import numpy.typing as npt

from qkv_server.core import RelativeBias
from qkv_server.transformers.families.answers import end_ids, longest_answer, prompt_ids, without_suppressed
from qkv_server.transformers.families.config import count, flag, number, refusal
from qkv_server.transformers.families.encoder_decoder_blocks import Blocks
from qkv_server.transformers.families.parameters import rms_norm
from qkv_server.transformers.files import ModelFiles
from qkv_server.transformers.layers.activations import ACTIVATIONS, Activation
from qkv_server.transformers.layers.halves import Halves
from qkv_server.transformers.layers.input_embedding import InputEmbedding
from qkv_server.transformers.layers.key_value_cache import KeyValueCache
from qkv_server.transformers.layers.normalization import Norm
from qkv_server.transformers.layers.output_layer import OutputLayer, output_layer
from qkv_server.transformers.stacks.encoder import Encoder, EncoderLayer
from qkv_server.transformers.stacks.encoder_decoder import DecoderLayer, EncoderDecoderDescription, EncoderDecoderModel

Array = npt.NDArray[np.float32]

PROJECTIONS = ("q", "k", "v", "o")
OUTPUT = "lm_head.weight"  # the table of the output, if it has one of its own
POSITIONS = 512  # tokens of a source and of an answer, where the config does not say: those it was trained with
MAX_DISTANCE = 128  # of the relative bias, where the config does not say


def build(files: ModelFiles) -> EncoderDecoderModel[KeyValueCache]:
    """A T5. Raises ModelFileError for what is missing, wrong, or not known."""
    vocabulary, size = count(files, "vocab_size"), count(files, "d_model")
    layers = count(files, "num_decoder_layers", count(files, "num_layers"))
    positions = count(files, "n_positions", POSITIONS)
    blocks = _blocks(files, "decoder")
    tokens = files.weights.take("shared.weight", (vocabulary, size))
    output = _output(files, tokens)
    embedding = InputEmbedding(tokens if OUTPUT in files.weights else output)
    prompt = prompt_ids(files)
    return EncoderDecoderModel(
        description=EncoderDecoderDescription(
            architecture=files.config["model_type"],
            vocabulary_size=vocabulary,
            hidden_size=size,
            heads=blocks.heads,
            encoder_layers=count(files, "num_layers"),
            decoder_layers=layers,
            source_tokens=positions,
            context_tokens=positions,
            norm_first=True,
            prompt_ids=prompt,
            end_ids=end_ids(files),
            answer_tokens=longest_answer(files, prompt, positions),
        ),
        encoder_embedding=embedding,
        encoder=_encoder(files),
        decoder_embedding=embedding,
        layers=_decoder_layers(files, blocks, layers),
        last_norm=_last_norm(files, blocks),
        output=output,
        new_memory=partial(KeyValueCache, layers, blocks.heads, blocks.head_size),
    )


def _blocks(files: ModelFiles, side: str) -> Blocks:
    size = count(files, "d_model")
    return Blocks(
        weights=files.weights,
        norm=lambda name: rms_norm(files.weights, name, size, _epsilon(files)),
        hidden_size=size,
        heads=count(files, "num_heads"),
        head_size=count(files, "d_kv"),
        feed_forward_size=count(files, "d_ff"),
        activation=_feed_forward(files)[0],
        projections=PROJECTIONS,
        scale=1.0,  # its initialization has the scale in the projections
        biased=False,
        many_rows=side == "encoder",
    )


def _epsilon(files: ModelFiles) -> float:
    return number(files, "layer_norm_epsilon", 1e-6)


def _feed_forward(files: ModelFiles) -> tuple[Activation, list[str]]:
    """The activation, and the names of the inner layers: the gate stands first."""
    value = files.config.get("feed_forward_proj", "relu")
    gated, _, name = value.rpartition("-") if isinstance(value, str) else ("", "", value)
    if gated == "gated" and name == "gelu":
        name = "gelu_new"  # the one that its authors meant
    if name not in ACTIVATIONS or gated not in ("", "gated"):
        raise refusal(files, "feed_forward_proj", f"one of {', '.join(ACTIVATIONS)}, with gated- before it or not")
    return ACTIVATIONS[name], ["wi_0", "wi_1"] if gated else ["wi"]


def _bias(files: ModelFiles, blocks: Blocks, side: str) -> RelativeBias:
    """What all layers of a side add to scores: the first one has it."""
    name = f"{side}.block.0.layer.0.SelfAttention.relative_attention_bias.weight"
    return RelativeBias(
        table=files.weights.take(name, (count(files, "relative_attention_num_buckets"), blocks.heads)),
        bidirectional=side == "encoder",
        max_distance=count(files, "relative_attention_max_distance", MAX_DISTANCE),
    )


def _encoder(files: ModelFiles) -> Encoder:
    blocks = _blocks(files, "encoder")
    bias = _bias(files, blocks, "encoder")
    inner = _feed_forward(files)[1]

    def layer(name: str) -> EncoderLayer:
        return EncoderLayer(
            blocks.self_attention(f"{name}.0.SelfAttention", bias),
            blocks.norm(f"{name}.0.layer_norm"),
            blocks.feed_forward([f"{name}.1.DenseReluDense.{one}" for one in inner], f"{name}.1.DenseReluDense.wo"),
            blocks.norm(f"{name}.1.layer_norm"),
        )

    layers = [layer(f"encoder.block.{i}.layer") for i in range(count(files, "num_layers"))]
    return Encoder(layers, norm_first=True, last_norm=blocks.norm("encoder.final_layer_norm"))


def _decoder_layers(files: ModelFiles, blocks: Blocks, layers: int) -> Sequence[DecoderLayer[KeyValueCache]]:
    bias = _bias(files, blocks, "decoder")
    inner = _feed_forward(files)[1]

    def layer(name: str) -> DecoderLayer[KeyValueCache]:
        return DecoderLayer(
            blocks.cached_self_attention(f"{name}.0.SelfAttention", bias),
            blocks.norm(f"{name}.0.layer_norm"),
            blocks.cross_attention(f"{name}.1.EncDecAttention"),
            blocks.norm(f"{name}.1.layer_norm"),
            blocks.feed_forward([f"{name}.2.DenseReluDense.{one}" for one in inner], f"{name}.2.DenseReluDense.wo"),
            blocks.norm(f"{name}.2.layer_norm"),
        )

    return [layer(f"decoder.block.{i}.layer") for i in range(layers)]


def _last_norm(files: ModelFiles, blocks: Blocks) -> Norm:
    """Of the decoder. Where output and input share a table, states are scaled before it: here within the norm."""
    norm = blocks.norm("decoder.final_layer_norm")
    tied = flag(files, "tie_word_embeddings", default=True)
    if not flag(files, "scale_decoder_outputs", default=tied):
        return norm
    return replace(norm, weight=norm.weight * np.float32(blocks.hidden_size**-0.5))


def _output(files: ModelFiles, tokens: Array) -> OutputLayer:
    """From a table of its own, if the files have one, else from that of the input (V, D)."""
    table = files.weights.take(OUTPUT, tokens.shape) if OUTPUT in files.weights else tokens
    return output_layer(table, without_suppressed(files, None, len(table)), Halves())
