"""Marian ("Marian", Junczys-Dowmunt et al., 2018): models of Marian itself, and MarianMT of Hugging Face.

BART's layers with computed positions. In fast students a recurrence stands in place of the decoder's self-attention.
"""

from collections.abc import Callable, Sequence
from functools import partial

from qkv_server.transformers.families import bart
from qkv_server.transformers.families.answers import prompt_ids
from qkv_server.transformers.families.config import count, flag, refusal, token
from qkv_server.transformers.families.encoder_decoder_blocks import Blocks
from qkv_server.transformers.files import ModelFiles
from qkv_server.transformers.layers.input_embedding import InputEmbedding, sinusoids
from qkv_server.transformers.layers.key_value_cache import KeyValueCache
from qkv_server.transformers.layers.linear import fused
from qkv_server.transformers.layers.ssru import RecurrentMemory, Ssru
from qkv_server.transformers.stacks.encoder_decoder import DecoderLayer, EncoderDecoderModel, M

POSITIONS = 1000  # of a model that has no bound of its own: what Marian itself reads at most (--max-length)

ANSWER_RATIO = 3.0  # answers are no longer than this times their source: Marian's own bound (--max-length-factor)


def build(files: ModelFiles) -> EncoderDecoderModel[KeyValueCache] | EncoderDecoderModel[RecurrentMemory]:
    """A Marian. Raises ModelFileError for what is missing, wrong, or not known."""
    blocks, layers = bart.side_blocks(files, "decoder"), count(files, "decoder_layers")
    autoregression = files.config.get("decoder_autoregression", "self-attention")
    if autoregression == "ssru":
        return _model(files, _recurrent_layers(blocks, layers), partial(RecurrentMemory, layers, blocks.hidden_size))
    if autoregression != "self-attention":
        raise refusal(files, "decoder_autoregression", "'ssru' or 'self-attention'")
    new_memory = partial(KeyValueCache, layers, blocks.heads, blocks.head_size)
    return _model(files, bart.attending_layers(files, blocks), new_memory)


def _model(
    files: ModelFiles, layers: Sequence[DecoderLayer[M]], new_memory: Callable[[int], M]
) -> EncoderDecoderModel[M]:
    """The model with this decoder."""
    tokens = bart.output(files)
    positions = count(files, "max_position_embeddings", POSITIONS)
    table = sinusoids(positions, count(files, "d_model"), flag(files, "inclusive_timescales", default=False))
    embedding = InputEmbedding(tokens, bart.embedding_scale(files), table)
    zeros = (len(tokens),)
    prompt = zeros if token(files, "decoder_start_token_id") is None else prompt_ids(files)
    return EncoderDecoderModel(
        description=bart.description(files, positions, prompt, ANSWER_RATIO),
        encoder_embedding=embedding,
        encoder=bart.encoder(files),
        decoder_embedding=embedding,
        layers=layers,
        last_norm=None,
        output=tokens,
        new_memory=new_memory,
    )


def _recurrent_layers(blocks: Blocks, layers: int) -> Sequence[DecoderLayer[RecurrentMemory]]:
    """The layers of a decoder with SSRU."""
    names = [f"model.decoder.layers.{i}" for i in range(layers)]
    return [bart.decoder_layer(blocks, name, _ssru(blocks, f"{name}.ssru")) for name in names]


def _ssru(blocks: Blocks, name: str) -> Ssru:
    """The gate has a bias, the candidate has none."""
    size = blocks.hidden_size
    forget = blocks.weights.take(f"{name}.forget.weight", (size, size))
    candidate = blocks.weights.take(f"{name}.weight", (size, size))
    bias = blocks.weights.take(f"{name}.forget.bias", (size,))
    return Ssru(fused([forget, candidate], [bias, None], input_major=False))
