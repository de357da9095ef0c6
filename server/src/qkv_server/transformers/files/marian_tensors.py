"""The tensors of a Marian model under the names, and in the layout, of Hugging Face's MarianMTModel.

Linear layers are (out, in). What that model has not, the simple recurrent unit in place of the decoder's
self-attention, is `ssru.weight` (of the candidate), `ssru.forget.weight` and `ssru.forget.bias` of a decoder layer.
"""

import re
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from qkv_server.transformers.files.marian_binary import INTGEMM8, MarianBinary
from qkv_server.transformers.files.weights import StoredTensor

EMBEDDING = "Wemb"
WHOLE = {EMBEDDING: "model.shared.weight", "decoder_ff_logit_out_b": "final_logits_bias"}


def _of_layers() -> Iterator[tuple[str, str]]:
    """What follows the number of a layer, here and there."""

    def normalization(marian: str, ours: str) -> Iterator[tuple[str, str]]:
        yield f"{marian}_ln_scale", f"{ours}.weight"
        yield f"{marian}_ln_bias", f"{ours}.bias"

    for marian, block in (("self", "self_attn"), ("context", "encoder_attn")):
        for letter, projection in (("q", "q_proj"), ("k", "k_proj"), ("v", "v_proj"), ("o", "out_proj")):
            yield f"{marian}_W{letter}", f"{block}.{projection}.weight"
            yield f"{marian}_b{letter}", f"{block}.{projection}.bias"
        yield from normalization(f"{marian}_Wo", f"{block}_layer_norm")
    for number in "12":
        yield f"ffn_W{number}", f"fc{number}.weight"
        yield f"ffn_b{number}", f"fc{number}.bias"
    yield from normalization("ffn_ffn", "final_layer_norm")
    yield "rnn_W", "ssru.weight"
    yield "rnn_Wf", "ssru.forget.weight"
    yield "rnn_bf", "ssru.forget.bias"
    yield from normalization("rnn_ffn", "self_attn_layer_norm")


OF_LAYERS = dict(_of_layers())


def tensors(binary: MarianBinary) -> dict[str, StoredTensor]:
    """The tensors that the arithmetic needs; what else is in the file, scales of activations, is left out."""
    return {ours: _stored(binary, name) for name in binary.items if (ours := translated(name)) is not None}


def translated(name: str) -> str | None:
    """decoder_l1_context_Wq → model.decoder.layers.0.encoder_attn.q_proj.weight; None for what is not needed."""
    match = re.fullmatch(r"(encoder|decoder)_l([1-9]\d{0,3})_(\w+)", name)
    if match is None:
        return WHOLE.get(name)
    ending = OF_LAYERS.get(match[3])
    return f"model.{match[1]}.layers.{int(match[2]) - 1}.{ending}" if ending else None


def _stored(binary: MarianBinary, name: str) -> StoredTensor:
    """Marian's products are x · W with W (in, out); quantized ones lie transposed, as (out, in), already."""
    item = binary.items[name]
    shape, turned = item.shape, False
    if name not in WHOLE and len(shape) == 2:
        shape = shape[1:] if shape[0] == 1 else shape[::-1]  # a bias is (1, out)
        turned = len(shape) == 2 and item.kind != INTGEMM8

    def read() -> npt.NDArray[np.float32]:
        values = binary.values(name)
        return values.reshape(item.shape).T if turned else values.reshape(shape)

    return StoredTensor(binary.path, shape, np.dtype(np.float32), read)
