"""Metadata of a GGUF file, typed, and in the words of Hugging Face's config.json.

Keys: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from qkv_server.transformers.errors import ModelFileError

T = TypeVar("T")

# The names of the same thing: GGUF's after the name of the architecture, type, Hugging Face's.
_LLAMA: tuple[tuple[str, type, str], ...] = (
    ("embedding_length", int, "hidden_size"),
    ("feed_forward_length", int, "intermediate_size"),
    ("block_count", int, "num_hidden_layers"),
    ("context_length", int, "max_position_embeddings"),
    ("attention.head_count", int, "num_attention_heads"),
    ("attention.layer_norm_rms_epsilon", float, "rms_norm_eps"),
)
_GPT2: tuple[tuple[str, type, str], ...] = (
    ("embedding_length", int, "n_embd"),
    ("feed_forward_length", int, "n_inner"),
    ("block_count", int, "n_layer"),
    ("context_length", int, "n_positions"),
    ("attention.head_count", int, "n_head"),
    ("attention.layer_norm_epsilon", float, "layer_norm_epsilon"),
)
_TOKENS = {"bos": "bos_token_id", "eos": "eos_token_id", "padding": "pad_token_id"}
ARCHITECTURES = ("llama", "qwen2", "qwen3", "gemma", "gemma2", "gemma3", "gpt2")
# Not in the files: how many layers the one size has whose scores are scaled by D / H, the others' by the head size.
_LAYERS_OF_LARGEST = {"gemma2": 46, "gemma3": 62}


@dataclass(frozen=True, slots=True)
class Metadata:
    """The keys and values of a file."""

    path: Path
    values: Mapping[str, Any]

    def get(self, key: str, kind: type[T]) -> T | None:
        """The value of a key, None if there is none. Raises ModelFileError if it is of another type."""
        value = self.values.get(key)
        if kind is float and isinstance(value, int | float):
            value = float(str(np.float32(value)))  # 1e-05, not the 9.999999747378752e-06 that float32 made of it
        if value is not None and not isinstance(value, kind):
            raise ModelFileError(self.path, f"its {key} is {value!r:.80}, expected {kind.__name__}")
        return value

    def need(self, key: str, kind: type[T]) -> T:
        """The value of a key. Raises ModelFileError if there is none, or one of another type."""
        value = self.get(key, kind)
        if value is None:
            raise ModelFileError(self.path, f"has no metadata {key}")
        return value

    @property
    def architecture(self) -> str:
        """The family; raises ModelFileError for one that is not known here."""
        name = self.need("general.architecture", str)
        if name not in ARCHITECTURES:
            raise ModelFileError(self.path, f"has architecture {name!r}, expected one of {', '.join(ARCHITECTURES)}")
        return name


def config(
    metadata: Metadata, vocabulary_size: int, tied: bool, rotary_factors: npt.NDArray[Any] | None
) -> dict[str, Any]:
    """config.json of a model. `rotary_factors` (Dh / 2,) divide the frequencies of the pairs of features."""
    name = metadata.architecture
    said = {
        "model_type": "gemma3_text" if name == "gemma3" else name,
        "vocab_size": vocabulary_size,
        "tie_word_embeddings": tied,
        **{
            ours: metadata.need(f"{name}.{theirs}", kind)
            for theirs, kind, ours in (_GPT2 if name == "gpt2" else _LLAMA)
        },
    }
    for ours, value in said.items():
        if type(value) is int and value < 1:
            raise ModelFileError(metadata.path, f"its metadata say {ours} {value}, expected at least 1")
    for theirs, ours in _TOKENS.items():
        said[ours] = metadata.get(f"tokenizer.ggml.{theirs}_token_id", int)
    return said | (
        {"activation_function": "gelu_new"} if name == "gpt2" else _of_rotary_decoder(metadata, said, rotary_factors)
    )


def _of_rotary_decoder(metadata: Metadata, said: Mapping[str, Any], factors: npt.NDArray[Any] | None) -> dict[str, Any]:
    """What the families with rotary positions say beyond sizes."""
    name = metadata.architecture
    heads = said["num_attention_heads"]
    head_size = metadata.get(f"{name}.attention.key_length", int) or said["hidden_size"] // max(heads, 1)
    activation = "gelu_pytorch_tanh" if name.startswith("gemma") else "silu"
    more: dict[str, Any] = {
        "num_key_value_heads": metadata.get(f"{name}.attention.head_count_kv", int) or heads,
        "head_dim": head_size,
        "hidden_act": activation,
        "hidden_activation": activation,  # Gemma's name of it
        "rope_theta": metadata.get(f"{name}.rope.freq_base", float) or 10_000.0,
        "rope_scaling": _rotary_scaling(metadata, head_size, factors),
    }
    if name in _LAYERS_OF_LARGEST:
        largest = said["num_hidden_layers"] == _LAYERS_OF_LARGEST[name]
        more |= {
            "attn_logit_softcapping": metadata.get(f"{name}.attn_logit_softcapping", float),
            "final_logit_softcapping": metadata.get(f"{name}.final_logit_softcapping", float),
            "sliding_window": metadata.need(f"{name}.attention.sliding_window", int),
            "query_pre_attn_scalar": said["hidden_size"] // heads if largest else head_size,
        }
    if name == "gemma3":  # layers with a window turn by a base of their own, and are not scaled
        more["sliding_window_pattern"] = metadata.get(f"{name}.attention.sliding_window_pattern", int)
        more["rope_local_base_freq"] = metadata.get(f"{name}.rope.freq_base_swa", float) or 10_000.0
    return more


def _rotary_scaling(metadata: Metadata, head_size: int, factors: npt.NDArray[Any] | None) -> dict[str, Any] | None:
    prefix = f"{metadata.architecture}.rope.scaling"
    if factors is not None:
        return _llama3_scaling(metadata, head_size, factors)
    kind = metadata.get(f"{prefix}.type", str)
    if kind in {None, "none"}:
        return None
    factor = metadata.need(f"{prefix}.factor", float)
    if kind == "linear":
        return {"rope_type": "linear", "factor": factor}
    if kind == "yarn":
        original = metadata.need(f"{prefix}.original_context_length", int)
        return {"rope_type": "yarn", "factor": factor, "original_max_position_embeddings": original}
    raise ModelFileError(metadata.path, f"its {prefix}.type is {kind!r}, expected none, linear or yarn")


def _llama3_scaling(metadata: Metadata, head_size: int, factors: npt.NDArray[Any]) -> dict[str, Any]:
    """What the factors (Dh / 2,) were computed from, which the file does not say.

    Llama 3.1 leaves what turns 4 times within the length of its training, divides what turns less than once by the
    largest factor, and blends between. Raises ModelFileError if that is not how the factors come about.
    """
    low, high = 1.0, 4.0  # the same in every model of this kind
    refusal = ModelFileError(metadata.path, "its rope_freqs.weight are not the factors of Llama 3.1")
    base = metadata.get(f"{metadata.architecture}.rope.freq_base", float) or 10_000.0
    if factors.shape != (head_size // 2,) or not np.isfinite(factors).all() or not 0 < base < math.inf:
        raise refusal
    factor = float(factors.max(initial=1.0))
    turns = base ** (-np.arange(0, head_size, 2) / head_size) / (2 * math.pi)  # of each pair, per token
    original = 8192
    between = (factors > 1.001) & (factors < 0.999 * factor)
    if between.any():
        share = (1 / factors[between][0] - 1 / factor) / (1 - 1 / factor)  # of the frequency that is left as it is
        original = round(float((low + share * (high - low)) / turns[between][0]))
    shares = np.clip((original * turns - low) / (high - low), 0, 1)
    if not np.allclose(factors, 1 / ((1 - shares) / factor + shares), rtol=1e-3):
        raise refusal
    return {
        "rope_type": "llama3",
        "factor": factor,
        "low_freq_factor": low,
        "high_freq_factor": high,
        "original_max_position_embeddings": original,
    }
