"""A folder of Hugging Face's written as a GGUF file, as llama.cpp's converter does it, by the `gguf` library.

Names of tensors and of metadata are the library's own. What the converter does to numbers is here once more: it
permutes Llama's query and key rows, adds 1 to Gemma's norm weights, transposes GPT-2's matrices.
"""

import json
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import numpy.typing as npt

from qkv_server.transformers.files import read_model

ARCHITECTURES = {
    "llama": gguf.MODEL_ARCH.LLAMA,
    "qwen2": gguf.MODEL_ARCH.QWEN2,
    "qwen3": gguf.MODEL_ARCH.QWEN3,
    "gemma": gguf.MODEL_ARCH.GEMMA,
    "gemma2": gguf.MODEL_ARCH.GEMMA2,
    "gemma3": gguf.MODEL_ARCH.GEMMA3,
    "gpt2": gguf.MODEL_ARCH.GPT2,
}
CUTS = {"llama": "llama-bpe", "qwen2": "qwen2", "qwen3": "qwen2", "gpt2": "gpt-2"}
SPACE = "▁"


def write_gguf(
    path: Path,
    folder: Path,
    kind: gguf.GGMLQuantizationType = gguf.GGMLQuantizationType.F32,
    without: tuple[str, ...] = (),
    part_tensors: int = 0,
    **others: Any,
) -> None:
    """Write `folder` to `path`, matrices as `kind`, without some keys, and with other values of some.

    With `part_tensors` in parts of so many, as llama.cpp's gguf-split names them.
    """
    files = read_model(folder)
    config, name = files.config, str(files.config["model_type"]).removesuffix("_text")
    writer = gguf.GGUFWriter(path, name, split_max_tensors=part_tensors)
    for key, value in (
        _sizes(config) | _tokenizer(folder, name) | {key.replace("__", "."): value for key, value in others.items()}
    ).items():
        if key not in without:
            _add(writer, key.format(arch=name), value)
    names = gguf.get_tensor_name_map(ARCHITECTURES[name], 99)
    for ours in files.weights:
        theirs = names.get_name(ours, try_suffixes=(".weight", ".bias"))
        assert theirs is not None, ours
        tensor = converted(name, ours, np.asarray(files.weights[ours], np.float32), config)
        chosen = kind if tensor.ndim > 1 and tensor.shape[-1] % 32 == 0 else gguf.GGMLQuantizationType.F32
        writer.add_tensor(theirs, gguf.quants.quantize(tensor, chosen), raw_dtype=chosen)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def converted(name: str, tensor_name: str, tensor: npt.NDArray[np.float32], config: Any) -> npt.NDArray[np.float32]:
    if name == "llama" and tensor_name.endswith(("q_proj.weight", "k_proj.weight")):
        heads = config["num_attention_heads" if "q_proj" in tensor_name else "num_key_value_heads"]
        return tensor.reshape(heads, 2, -1, tensor.shape[1]).swapaxes(1, 2).reshape(tensor.shape)
    if name.startswith("gemma") and tensor_name.endswith("norm.weight"):
        return tensor + 1
    if name == "gpt2" and tensor_name.endswith((".c_attn.weight", ".c_proj.weight", ".c_fc.weight")):
        return np.ascontiguousarray(tensor.T)
    return tensor


def rotary_base(config: Any) -> float | None:
    """Of either form of a config, of layers without a window; None if it has no rotary positions."""
    base: float | None = config.get("rope_theta", _rotary(config).get("rope_theta"))
    return base


def _rotary(config: Any) -> Any:
    said = config.get("rope_parameters", {})
    return said.get("full_attention", said)


def _sizes(config: Any) -> dict[str, Any]:
    keys = gguf.Keys
    sizes = {
        keys.LLM.EMBEDDING_LENGTH: config.get("hidden_size", config.get("n_embd")),
        keys.LLM.FEED_FORWARD_LENGTH: config.get("intermediate_size", config.get("n_inner")),
        keys.LLM.BLOCK_COUNT: config.get("num_hidden_layers", config.get("n_layer")),
        keys.LLM.CONTEXT_LENGTH: config.get("max_position_embeddings", config.get("n_positions")),
        keys.Attention.HEAD_COUNT: config.get("num_attention_heads", config.get("n_head")),
        keys.Attention.HEAD_COUNT_KV: config.get("num_key_value_heads"),
        keys.Attention.KEY_LENGTH: config.get("head_dim"),
        keys.Attention.VALUE_LENGTH: config.get("head_dim"),
        keys.Attention.LAYERNORM_RMS_EPS: config.get("rms_norm_eps"),
        keys.Attention.LAYERNORM_EPS: config.get("layer_norm_epsilon"),
        keys.Attention.SLIDING_WINDOW: config.get("sliding_window"),
        keys.LLM.ATTN_LOGIT_SOFTCAPPING: config.get("attn_logit_softcapping"),
        keys.LLM.FINAL_LOGIT_SOFTCAPPING: config.get("final_logit_softcapping"),
        keys.Rope.FREQ_BASE: rotary_base(config),
        keys.Rope.SCALING_TYPE: "linear" if _rotary(config).get("rope_type") == "linear" else None,
        keys.Rope.SCALING_FACTOR: _rotary(config).get("factor"),
    }
    return {key: value for key, value in sizes.items() if value is not None}


def _tokenizer(folder: Path, name: str) -> dict[str, Any]:
    said = json.loads((folder / "tokenizer.json").read_text("utf-8"))
    model, added = said["model"], {one["content"] for one in said["added_tokens"]}
    tokens = sorted(model["vocab"], key=model["vocab"].__getitem__)
    kinds = [3 if token in added else 6 if token.startswith("<0x") else 1 for token in tokens]
    metadata: dict[str, Any] = {"tokenizer.ggml.tokens": tokens, "tokenizer.ggml.token_type": kinds}
    if name in CUTS:
        metadata |= {"tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": CUTS[name]}
        metadata["tokenizer.ggml.merges"] = [" ".join(merge) for merge in model["merges"]]
    else:
        scores = {left + right: -float(number) for number, (left, right) in enumerate(model["merges"])}
        metadata |= {"tokenizer.ggml.model": "llama", "tokenizer.ggml.add_space_prefix": False}
        metadata["tokenizer.ggml.scores"] = [scores.get(token, -1e4) for token in tokens]
    files = read_model(folder)
    for role, key in (("bos", "bos"), ("eos", "eos"), ("unk", "unknown"), ("pad", "padding")):
        number = files.tokenizer.special_ids.get(f"{role}_token")
        if number is not None:
            metadata[f"tokenizer.ggml.{key}_token_id"] = number
    if files.tokenizer.chat_template:
        metadata["tokenizer.chat_template"] = files.tokenizer.chat_template
    return metadata


def _add(writer: gguf.GGUFWriter, key: str, value: Any) -> None:
    match value:
        case bool():
            writer.add_bool(key, value)
        case int():
            writer.add_uint32(key, value)
        case float():
            writer.add_float32(key, value)
        case str():
            writer.add_string(key, value)
        case _:
            writer.add_array(key, value)
