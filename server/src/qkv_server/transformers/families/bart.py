"""BART ("BART", Lewis et al., 2020): post-norm, learned positions, a norm behind the embeddings.

mBART ("Multilingual Denoising Pre-training", Liu et al., 2020) has the norms first, and one more at the end of either
side. MarianMT of Hugging Face is BART with computed positions and without the norm behind the embeddings. `marian` and
`annalog`, whose configs have the same names, build on what is here.
"""

import math
from collections.abc import Sequence
from functools import partial

import numpy as np
import numpy.typing as npt

from qkv_server.transformers.families.answers import end_ids, longest_answer, prompt_ids, without_suppressed
from qkv_server.transformers.families.config import activation, count, flag, head_size, number, refusal
from qkv_server.transformers.families.encoder_decoder_blocks import Blocks
from qkv_server.transformers.families.parameters import layer_norm
from qkv_server.transformers.files import ModelFiles
from qkv_server.transformers.layers.halves import Halves
from qkv_server.transformers.layers.input_embedding import InputEmbedding
from qkv_server.transformers.layers.key_value_cache import KeyValueCache
from qkv_server.transformers.layers.normalization import Norm
from qkv_server.transformers.layers.output_layer import OutputLayer, output_layer
from qkv_server.transformers.stacks.encoder import Encoder, EncoderLayer
from qkv_server.transformers.stacks.encoder_decoder import (
    DecoderLayer,
    EncoderDecoderDescription,
    EncoderDecoderModel,
    M,
    Past,
)

Array = npt.NDArray[np.float32]

PROJECTIONS = ("q_proj", "k_proj", "v_proj", "out_proj")
FIRST_POSITION = 2  # the rows before it in the table of positions are not used


def build(files: ModelFiles) -> EncoderDecoderModel[KeyValueCache]:
    """A BART or an mBART. Raises ModelFileError for what is missing, wrong, or not known."""
    tokens = output(files)
    rows, size = FIRST_POSITION + count(files, "max_position_embeddings"), count(files, "d_model")
    embeddings = {
        side: InputEmbedding(
            tokens,
            embedding_scale(files),
            files.weights.take(f"model.{side}.embed_positions.weight", (rows, size))[FIRST_POSITION:],
            layer_norm(files.weights, f"model.{side}.layernorm_embedding", size, epsilon(files)),
        )
        for side in ("encoder", "decoder")
    }
    blocks = side_blocks(files, "decoder")
    return EncoderDecoderModel(
        description=description(files, rows - FIRST_POSITION, prompt_ids(files)),
        encoder_embedding=embeddings["encoder"],
        encoder=encoder(files),
        decoder_embedding=embeddings["decoder"],
        layers=attending_layers(files, blocks),
        last_norm=last_norm(files, "decoder"),
        output=tokens,
        new_memory=partial(KeyValueCache, count(files, "decoder_layers"), blocks.heads, blocks.head_size),
    )


def description(
    files: ModelFiles, positions: int, prompt: tuple[int, ...], answer_ratio: float = math.inf
) -> EncoderDecoderDescription:
    """What the config says, of a model that reads so many tokens on either side."""
    return EncoderDecoderDescription(
        architecture=files.config["model_type"],
        vocabulary_size=count(files, "vocab_size"),
        hidden_size=count(files, "d_model"),
        heads=count(files, "encoder_attention_heads"),
        encoder_layers=count(files, "encoder_layers"),
        decoder_layers=count(files, "decoder_layers"),
        source_tokens=positions,
        context_tokens=positions,
        norm_first=norm_first(files),
        prompt_ids=prompt,
        end_ids=end_ids(files),
        answer_tokens=longest_answer(files, prompt, positions),
        answer_ratio=answer_ratio,
    )


def embedding_scale(files: ModelFiles) -> float:
    """By what the rows of tokens are multiplied."""
    return math.sqrt(count(files, "d_model")) if flag(files, "scale_embedding", default=False) else 1.0


def epsilon(files: ModelFiles) -> float:
    """Of the norms: torch's own if the config has none."""
    return number(files, "layer_norm_eps", 1e-5)


def norm_first(files: ModelFiles) -> bool:
    """Whether blocks begin with their norms."""
    of_family = bool(files.config["model_type"] == "mbart")
    if flag(files, "normalize_before", default=of_family) != of_family:
        raise refusal(files, "normalize_before", str(of_family).lower())
    return of_family


def last_norm(files: ModelFiles, side: str) -> Norm | None:
    """What ends the encoder or the decoder where the blocks begin with their norms."""
    if not norm_first(files):
        return None
    return layer_norm(files.weights, f"model.{side}.layer_norm", count(files, "d_model"), epsilon(files))


def side_blocks(files: ModelFiles, side: str, projections: tuple[str, str, str, str] = PROJECTIONS) -> Blocks:
    """The blocks of the encoder or of the decoder, whose projections have these names."""
    size, of_head = count(files, "d_model"), head_size(files, "d_model", f"{side}_attention_heads")
    return Blocks(
        weights=files.weights,
        norm=lambda name: layer_norm(files.weights, name, size, epsilon(files)),
        hidden_size=size,
        heads=size // of_head,
        head_size=of_head,
        feed_forward_size=count(files, f"{side}_ffn_dim"),
        activation=activation(files, "activation_function", "gelu"),
        projections=projections,
        scale=1 / math.sqrt(of_head),
        biased=True,
        many_rows=side == "encoder",
    )


def encoder(files: ModelFiles) -> Encoder:
    """The layers of the encoder."""
    blocks = side_blocks(files, "encoder")

    def layer(name: str) -> EncoderLayer:
        return EncoderLayer(
            blocks.self_attention(f"{name}.self_attn"),
            blocks.norm(f"{name}.self_attn_layer_norm"),
            blocks.feed_forward([f"{name}.fc1"], f"{name}.fc2"),
            blocks.norm(f"{name}.final_layer_norm"),
        )

    layers = [layer(f"model.encoder.layers.{i}") for i in range(count(files, "encoder_layers"))]
    return Encoder(layers, norm_first(files), last_norm(files, "encoder"))


def decoder_layer(blocks: Blocks, name: str, past: Past[M]) -> DecoderLayer[M]:
    """The layer of this name, with whatever tells a token of those before it."""
    return DecoderLayer(
        past,
        blocks.norm(f"{name}.self_attn_layer_norm"),
        blocks.cross_attention(f"{name}.encoder_attn"),
        blocks.norm(f"{name}.encoder_attn_layer_norm"),
        blocks.feed_forward([f"{name}.fc1"], f"{name}.fc2"),
        blocks.norm(f"{name}.final_layer_norm"),
    )


def attending_layers(files: ModelFiles, blocks: Blocks) -> Sequence[DecoderLayer[KeyValueCache]]:
    """The layers of a decoder with self-attention."""
    names = [f"model.decoder.layers.{i}" for i in range(count(files, "decoder_layers"))]
    return [decoder_layer(blocks, name, blocks.cached_self_attention(f"{name}.self_attn")) for name in names]


def output(files: ModelFiles) -> OutputLayer:
    """Logits from the rows of tokens (V, D), which are also those of encoder and decoder."""
    vocabulary = count(files, "vocab_size")
    tokens = files.weights.take("model.shared.weight", (vocabulary, count(files, "d_model")))
    bias = "final_logits_bias"
    given = files.weights.take(bias, (1, vocabulary))[0] if bias in files.weights else None
    return output_layer(tokens, without_suppressed(files, given, vocabulary), Halves())
