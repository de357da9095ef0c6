"""A tiny Llama as GGUF, with its tokenizer, as llama.cpp's own converter writes one."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from gguf import GGMLQuantizationType, GGUFWriter, LlamaFileType, TokenType
from gguf.quants import dequantize, quantize

Array = npt.NDArray[np.float32]

QUANTIZED = ("token_embd", "ffn_")  # by Q8_0; the rest is float32
NAMES = {  # of transformers, in a layer
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
PERMUTED = {"attn_q": "num_attention_heads", "attn_k": "num_key_value_heads"}


def write_gguf(path: Path, config: dict[str, Any], weights: dict[str, Array], tokenizer: Path) -> dict[str, Array]:
    """Write the file, and answer the weights (transformers' names and layout) that it holds after quantization."""
    writer = GGUFWriter(path, "llama")
    _add_config(writer, config)
    _add_tokenizer(writer, tokenizer)
    writer.add_tensor("rope_freqs.weight", _rotary_factors(config))
    held = {}
    for name, values in weights.items():
        own = _name(name)
        heads = next((config[heads] for part, heads in PERMUTED.items() if part in own), None)
        permuted = values if heads is None else _interleaved(values, heads)
        if values.ndim == 2 and any(part in own for part in QUANTIZED):
            quantized = quantize(permuted, GGMLQuantizationType.Q8_0)
            writer.add_tensor(own, quantized, raw_dtype=GGMLQuantizationType.Q8_0)
            held[name] = dequantize(quantized, GGMLQuantizationType.Q8_0)
        else:
            writer.add_tensor(own, permuted)
            held[name] = values
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return held


def _add_config(writer: GGUFWriter, config: dict[str, Any]) -> None:
    writer.add_name("tiny llama")
    writer.add_file_type(LlamaFileType.MOSTLY_Q8_0)
    writer.add_vocab_size(config["vocab_size"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_dimension_count(config["head_dim"])
    writer.add_rope_freq_base(config["rope_theta"])


def _add_tokenizer(writer: GGUFWriter, path: Path) -> None:
    content = json.loads(path.read_text())
    special = {token["id"] for token in content["added_tokens"] if token["special"]}
    vocabulary = sorted(content["model"]["vocab"].items(), key=lambda item: item[1])
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("llama-bpe")
    writer.add_token_list([piece for piece, _ in vocabulary])
    writer.add_token_types([TokenType.CONTROL if number in special else TokenType.NORMAL for _, number in vocabulary])
    writer.add_token_merges([" ".join(pair) for pair in content["model"]["merges"]])
    settings = json.loads((path.parent / "tokenizer_config.json").read_text())
    writer.add_bos_token_id(content["model"]["vocab"][settings["bos_token"]])
    writer.add_eos_token_id(content["model"]["vocab"][settings["eos_token"]])
    writer.add_add_bos_token(True)
    writer.add_chat_template(settings["chat_template"])


def _name(name: str) -> str:
    """GGUF's name of a tensor."""
    whole = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight"}
    if name in whole:
        return whole[name]
    _, _, layer, part = name.removesuffix(".weight").split(".", 3)
    return f"blk.{layer}.{NAMES[part]}.weight"


def _interleaved(weight: Array, heads: int) -> Array:
    """Rows of a projection (heads·D, in) for rotary pairs that are neighbours, of rows whose pairs are halves apart."""
    rows, inputs = weight.shape
    return weight.reshape(heads, 2, rows // heads // 2, inputs).swapaxes(1, 2).reshape(rows, inputs)


def _rotary_factors(config: dict[str, Any]) -> Array:
    """Llama 3's divisors of the rotary frequencies, (D / 2,): far positions of slow ones are brought near."""
    scaling, size = config["rope_scaling"], config["head_dim"]
    frequencies = config["rope_theta"] ** -(np.arange(0, size, 2) / size)
    turns = scaling["original_max_position_embeddings"] * frequencies / (2 * math.pi)  # within the original context
    low, high = scaling["low_freq_factor"], scaling["high_freq_factor"]
    kept = np.clip((turns - low) / (high - low), 0, 1)
    return np.asarray(1 / ((1 - kept) / scaling["factor"] + kept), np.float32)
