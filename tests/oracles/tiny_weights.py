"""Random weights that keep signals at their size: attention is far from uniform, and one token stands out."""

import math
from typing import Any

import numpy as np
import torch

GAIN = 1.4  # of a product: scores of attention then spread by about two
POSITION_SPREAD = 1.5  # of learned ones in encoder-decoders: else an answer is one token again and again
WRITER_GAIN = 3.0  # of what is added to the residual stream: else a decoder with tied embeddings says its input again
CROSS_GAIN = 10.0  # of the queries for the source: where a decoder looks depends on what it has said
SANDWICH = 2.0  # the same for Gemma 2, which normalizes what it adds
WRITERS = ("o_proj", "out_proj", "c_proj", "down_proj", "fc2", "wo", "o", "lin2", "out_lin", "dense")
NORM_SPREAD = 0.2
BIAS_SPREAD = 0.1


def draw_weights(model: torch.nn.Module, seed: int, number: torch.dtype, embedding_spread: float) -> None:
    """Fill every parameter, in the order of the names, with float32 that the number type holds exactly."""
    generator = np.random.default_rng(seed)
    kinds = {
        f"{name}.{own}": module
        for name, module in model.named_modules()
        for own, _ in module.named_parameters(recurse=False)
    }
    parameters = sorted(model.named_parameters())
    buffers = [(name, value) for name, value in model.named_buffers() if name == "final_logits_bias"]
    with torch.no_grad():
        for name, parameter in parameters + buffers:
            center, spread = _distribution(name, parameter, kinds.get(name), embedding_spread)
            values = generator.normal(center, spread, tuple(parameter.shape)).astype(np.float32)
            parameter.copy_(torch.from_numpy(values).to(number))


def _distribution(name: str, parameter: torch.Tensor, module: Any, embedding_spread: float) -> tuple[float, float]:
    """The mean and the standard deviation of one parameter."""
    if isinstance(module, torch.nn.Embedding) or name == "lm_head.weight":
        return 0.0, POSITION_SPREAD if "embed_positions" in name else embedding_spread
    if parameter.ndim == 1 and name.endswith("weight"):
        center = 0.0 if type(module).__name__.startswith("Gemma") else 1.0  # Gemma's is x·(1 + weight)
        return center + (SANDWICH if "post_feedforward" in name else 0.0), NORM_SPREAD
    if parameter.ndim == 1 or name == "final_logits_bias":
        return 0.0, BIAS_SPREAD
    inputs = parameter.shape[0 if type(module).__name__ == "Conv1D" else 1]
    gain = CROSS_GAIN if "encoder_attn.q" in name else WRITER_GAIN if name.split(".")[-2] in WRITERS else GAIN
    return 0.0, gain / math.sqrt(inputs)
