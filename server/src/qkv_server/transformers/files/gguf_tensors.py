"""The names of tensors in GGUF files, and their layouts, back to those of Hugging Face.

What conversion to GGUF changes (llama.cpp, convert_hf_to_gguf.py): Llama's query and key rows are permuted so that the
features of a rotary pair are neighbours; Gemma's norm weights have 1 added; GPT-2's matrices are transposed.
"""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]

ROTARY_FACTORS = "rope_freqs.weight"

_LLAMA = {
    "token_embd": "model.embed_tokens",
    "output_norm": "model.norm",
    "output": "lm_head",
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_GEMMA = _LLAMA | {
    "ffn_norm": "pre_feedforward_layernorm",
    "post_attention_norm": "post_attention_layernorm",
    "post_ffw_norm": "post_feedforward_layernorm",
}
_GPT2 = {
    "token_embd": "transformer.wte",
    "position_embd": "transformer.wpe",
    "output_norm": "transformer.ln_f",
    "output": "lm_head",
    "attn_norm": "ln_1",
    "attn_qkv": "attn.c_attn",
    "attn_output": "attn.c_proj",
    "ffn_norm": "ln_2",
    "ffn_up": "mlp.c_fc",
    "ffn_down": "mlp.c_proj",
}
_NAMES: Mapping[str, Mapping[str, str]] = {"gpt2": _GPT2, "gemma2": _GEMMA, "gemma3": _GEMMA}


def translated(architecture: str, name: str) -> str | None:
    """blk.3.attn_q.weight → model.layers.3.self_attn.q_proj.weight; None for a name that is not known."""
    names = _NAMES.get(architecture, _LLAMA)
    match = re.fullmatch(r"(?:blk\.(\d+)\.)?(\w+)\.(weight|bias)", name)
    if match is None or match[2] not in names:
        return None
    ours = f"{names[match[2]]}.{match[3]}"
    if match[1] is None:
        return ours
    return f"{'transformer.h' if architecture == 'gpt2' else 'model.layers'}.{match[1]}.{ours}"


def restored(architecture: str, name: str, tensor: Array, config: Mapping[str, Any]) -> Array:
    """A tensor in Hugging Face's layout, `name` is its translated one. Raises ValueError if its shape is another's."""
    if architecture == "llama" and ".self_attn.q_proj." in name:
        return _unpermuted(tensor, config["num_attention_heads"])
    if architecture == "llama" and ".self_attn.k_proj." in name:
        return _unpermuted(tensor, config["num_key_value_heads"])
    if architecture.startswith("gemma") and name.endswith("norm.weight"):
        return tensor - np.float32(1)
    return tensor.T if is_transposed(architecture, name) else tensor


def is_transposed(architecture: str, name: str) -> bool:
    """Whether the sizes of a matrix are exchanged; `name` is its translated one."""
    return architecture == "gpt2" and re.search(r"\.(c_attn|c_proj|c_fc)\.weight$", name) is not None


def _unpermuted(tensor: Array, heads: int) -> Array:
    """Rows (H · Dh, …) whose pairs of a head are neighbours → the first halves of all pairs, then the second halves."""
    paired = tensor.reshape(heads, -1, 2, *tensor.shape[1:])
    return paired.swapaxes(1, 2).reshape(tensor.shape)
