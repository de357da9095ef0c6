"""Twelve configurations of torch.nn.MultiheadAttention, computed by PyTorch in float64, asked over a socket."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import qkv

Array = npt.NDArray[Any]

GOLDENS = Path(__file__).parent.parent / "goldens"
ARRAYS = np.load(GOLDENS / "torch_attention.npz")
CASES = [case for case in json.loads((GOLDENS / "torch_attention.json").read_text()) if case["name"].startswith("mha")]


def as_call(name: str, heads: int) -> dict[str, Any]:
    """The arguments of `Client.multi_head_attention` for the module that PyTorch ran."""
    arrays: dict[str, Array] = {
        key.partition("/")[2]: ARRAYS[key] for key in ARRAYS.files if key.startswith(f"{name}/")
    }
    call: dict[str, Any] = {
        "query": arrays["query"],
        "key": arrays["key"],
        "value": arrays["value"],
        "heads": heads,
        "output_weight": arrays["p_out_proj_weight"],
        "output_bias": arrays.get("p_out_proj_bias"),
        "extra_key": arrays.get("p_bias_k"),
        "extra_value": arrays.get("p_bias_v"),
        "mask_polarity": "true_hides",
        "outputs": ["weights", "averaged_weights"],
    }
    if "p_in_proj_weight" in arrays:
        weights = np.split(arrays["p_in_proj_weight"], 3)
    else:
        weights = [arrays[f"p_{letter}_proj_weight"] for letter in "qkv"]
    biases = np.split(arrays["p_in_proj_bias"], 3) if "p_in_proj_bias" in arrays else [None, None, None]
    for operand, weight, bias in zip(("query", "key", "value"), weights, biases, strict=True):
        call[f"{operand}_weight"], call[f"{operand}_bias"] = weight, bias
    if "key_padding_mask" in arrays:
        call["mask"] = arrays["key_padding_mask"][:, None, None, :]
    if "attn_mask" in arrays:
        mask = arrays["attn_mask"]
        call["mask"] = mask if mask.ndim == 2 else mask.reshape(-1, heads, *mask.shape[1:])
    return call


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_answers_as_torch_did(case: dict[str, Any], client: qkv.Client) -> None:
    """Output, weights and averaged weights agree with PyTorch's to 1e-10 in float64."""
    name, config = case["name"], case["config"]
    call = as_call(name, config["H"]) | {"add_zero_attention": config.get("add_zero_attn", False)}
    result = client.multi_head_attention(**call)
    assert result.output.dtype == np.float64
    np.testing.assert_allclose(result.output, ARRAYS[f"{name}/output"], rtol=1e-10, atol=1e-10)
    weights = ARRAYS[f"{name}/weights"]
    assert result.weights is not None
    assert result.averaged_weights is not None
    np.testing.assert_allclose(result.weights, weights, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(result.averaged_weights, weights.mean(axis=1), rtol=1e-10, atol=1e-10)
