"""How a config says that positions turn queries and keys, in its older and its newer form."""

from collections.abc import Mapping
from typing import Any

from qkv_server.core import LinearScaling, Llama3Scaling, YarnScaling
from qkv_server.transformers.families.config import is_positive, mapping, number, refusal
from qkv_server.transformers.files import ModelFiles
from qkv_server.transformers.layers.positions import RotaryDescription

Parameters = Mapping[str, Any]


def rotary(files: ModelFiles, layer_type: str) -> RotaryDescription:
    """The rotary embedding of layers of a type: full_attention or sliding_attention. Raises ModelFileError."""
    return _described(files, *_said(files, layer_type))


def _said(files: ModelFiles, layer_type: str) -> tuple[str, Parameters]:
    """The field that says it, and what: rope_theta, rope_type, and the numbers of that type."""
    said = mapping(files, "rope_parameters")
    if said:
        of_type = said.get(layer_type, said)
        if not isinstance(of_type, Mapping):
            raise refusal(files, "rope_parameters", f"a mapping for {layer_type}")
        return "rope_parameters", {"rope_theta": number(files, "rope_theta", 10_000.0), **of_type}
    if layer_type == "sliding_attention" and "rope_local_base_freq" in files.config:  # Gemma 3
        return "rope_local_base_freq", {"rope_theta": number(files, "rope_local_base_freq")}
    scaling = mapping(files, "rope_scaling")
    return "rope_scaling", {"rope_theta": number(files, "rope_theta", 10_000.0), **scaling}


def _described(files: ModelFiles, field: str, said: Parameters) -> RotaryDescription:
    kind = said.get("rope_type", said.get("type", "default"))
    if said.get("partial_rotary_factor", 1) != 1:
        raise refusal(files, field, "partial_rotary_factor 1")

    def value(name: str) -> float:
        found = said.get(name)
        if not is_positive(found):
            raise refusal(files, field, f"{name}, a number above 0")
        return float(found)

    def original_length() -> int:
        name = "original_max_position_embeddings"
        return int(value(name) if name in said else number(files, "max_position_embeddings"))

    match kind:
        case "default":
            scaling: LinearScaling | YarnScaling | Llama3Scaling | None = None
        case "linear":
            scaling = LinearScaling(factor=value("factor"))
        case "llama3":
            scaling = Llama3Scaling(
                factor=value("factor"),
                low_frequency_factor=value("low_freq_factor"),
                high_frequency_factor=value("high_freq_factor"),
                original_length=original_length(),
            )
        case "yarn" if "mscale" not in said:
            scaling = YarnScaling(
                factor=value("factor"),
                original_length=original_length(),
                beta_fast=value("beta_fast") if "beta_fast" in said else 0.0,
                beta_slow=value("beta_slow") if "beta_slow" in said else 0.0,
                attention_factor=value("attention_factor") if said.get("attention_factor") is not None else None,
                truncate=said.get("truncate"),
            )
        case _:
            raise refusal(files, field, "rope_type default, linear, llama3, or yarn without mscale")
    return RotaryDescription(base=value("rope_theta"), scaling=scaling)
