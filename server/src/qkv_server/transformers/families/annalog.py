"""The architecture of the Python package annalog: molecules to molecules, written as SMILES.

The encoder-decoder of "Attention Is All You Need" with learned positions, and tables of its own for either side and the
output.
"""

import math
from functools import partial

from qkv_server.transformers.families import bart
from qkv_server.transformers.families.answers import prompt_ids
from qkv_server.transformers.families.config import count, flag
from qkv_server.transformers.families.encoder_decoder_blocks import Blocks
from qkv_server.transformers.files import ModelFiles
from qkv_server.transformers.layers.input_embedding import InputEmbedding
from qkv_server.transformers.layers.key_value_cache import KeyValueCache
from qkv_server.transformers.layers.output_layer import output_layer
from qkv_server.transformers.stacks.encoder import Encoder, EncoderLayer
from qkv_server.transformers.stacks.encoder_decoder import DecoderLayer, EncoderDecoderModel

PROJECTIONS = ("fc_q", "fc_k", "fc_v", "fc_o")


def build(files: ModelFiles) -> EncoderDecoderModel[KeyValueCache]:
    """An annalog. Raises ModelFileError for what is missing, wrong, or not known."""
    size, vocabulary, positions = (count(files, name) for name in ("d_model", "vocab_size", "max_position_embeddings"))
    blocks = bart.side_blocks(files, "decoder", PROJECTIONS)
    layers = count(files, "decoder_layers")
    return EncoderDecoderModel(
        description=bart.description(files, positions, prompt_ids(files)),
        encoder_embedding=_embedding(files, "encoder"),
        encoder=_encoder(files),
        decoder_embedding=_embedding(files, "decoder"),
        layers=[_decoder_layer(blocks, f"decoder.layers.{i}") for i in range(layers)],
        last_norm=None,
        output=output_layer(
            files.weights.take("decoder.fc_out.weight", (vocabulary, size)),
            files.weights.take("decoder.fc_out.bias", (vocabulary,)),
        ),
        new_memory=partial(KeyValueCache, layers, blocks.heads, blocks.head_size),
    )


def _embedding(files: ModelFiles, side: str) -> InputEmbedding:
    size = count(files, "d_model")
    return InputEmbedding(
        files.weights.take(f"{side}.tok_embedding.weight", (count(files, "vocab_size"), size)),
        math.sqrt(size) if flag(files, "scale_embedding", default=True) else 1.0,
        files.weights.take(f"{side}.pos_embedding.weight", (count(files, "max_position_embeddings"), size)),
    )


def _encoder(files: ModelFiles) -> Encoder:
    blocks = bart.side_blocks(files, "encoder", PROJECTIONS)

    def layer(name: str) -> EncoderLayer:
        return EncoderLayer(
            blocks.self_attention(f"{name}.self_attention"),
            blocks.norm(f"{name}.self_attn_layer_norm"),
            blocks.feed_forward(*_feed_forward(name)),
            blocks.norm(f"{name}.ff_layer_norm"),
        )

    return Encoder([layer(f"encoder.layers.{i}") for i in range(count(files, "encoder_layers"))])


def _decoder_layer(blocks: Blocks, name: str) -> DecoderLayer[KeyValueCache]:
    return DecoderLayer(
        blocks.cached_self_attention(f"{name}.self_attention"),
        blocks.norm(f"{name}.self_attn_layer_norm"),
        blocks.cross_attention(f"{name}.encoder_attention"),
        blocks.norm(f"{name}.enc_attn_layer_norm"),
        blocks.feed_forward(*_feed_forward(name)),
        blocks.norm(f"{name}.ff_layer_norm"),
    )


def _feed_forward(name: str) -> tuple[list[str], str]:
    return [f"{name}.positionwise_feedforward.fc_1"], f"{name}.positionwise_feedforward.fc_2"
