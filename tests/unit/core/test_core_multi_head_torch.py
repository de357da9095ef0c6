"""The core against PyTorch in float64: nn.MultiheadAttention, and the forward half of the gradient cases."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from qkv_server.core import (
    Alignment,
    MaskPolarity,
    MultiHead,
    Problem,
    Quantity,
    Scoring,
    Visibility,
    attention,
)
from qkv_server.core.problem import Array

GOLDENS = Path(__file__).parents[2] / "goldens"
CASES: dict[str, dict[str, Any]] = {
    case["name"]: case["config"] for case in json.loads((GOLDENS / "torch_attention.json").read_text(encoding="utf-8"))
}
MULTI_HEAD = [name for name in CASES if name.startswith("mha")]
GRADIENT = [name for name in CASES if name.startswith("grad")]


def arrays_of(name: str) -> dict[str, Array]:
    with np.load(GOLDENS / "torch_attention.npz") as archive:
        return {key.removeprefix(f"{name}/"): archive[key] for key in archive if key.startswith(f"{name}/")}


def assert_close(actual: Array | None, expected: Array) -> None:
    assert actual is not None
    np.testing.assert_allclose(actual, expected, rtol=1e-10, atol=1e-10, strict=True)


def multi_head_of(heads: int, arrays: dict[str, Array], *, add_zero_attention: bool) -> MultiHead:
    """The parameters of nn.MultiheadAttention, whose input projection is one array, or three where sizes differ."""
    if "p_in_proj_weight" in arrays:
        weights = np.split(arrays["p_in_proj_weight"], 3)
    else:
        weights = [arrays[f"p_{letter}_proj_weight"] for letter in "qkv"]
    biases: Iterator[Array | None] = iter(
        np.split(arrays["p_in_proj_bias"], 3) if "p_in_proj_bias" in arrays else (None, None, None)
    )
    return MultiHead(
        heads=heads,
        query_weight=weights[0],
        key_weight=weights[1],
        value_weight=weights[2],
        output_weight=arrays["p_out_proj_weight"],
        query_bias=next(biases),
        key_bias=next(biases),
        value_bias=next(biases),
        output_bias=arrays.get("p_out_proj_bias"),
        extra_key=arrays.get("p_bias_k"),
        extra_value=arrays.get("p_bias_v"),
        add_zero_attention=add_zero_attention,
    )


def mask_of(arrays: dict[str, Array], heads: int) -> Array | None:
    """Torch's masks, in the shapes that broadcast to (B, Hq, L, S)."""
    if "key_padding_mask" in arrays:
        return arrays["key_padding_mask"][:, None, None]
    mask = arrays.get("attn_mask")
    return mask if mask is None or mask.ndim == 2 else mask.reshape(-1, heads, *mask.shape[1:])


def test_the_goldens_are_all_there() -> None:
    """Twelve multi-head and eight gradient cases are read, so that none is lost in silence."""
    assert (len(MULTI_HEAD), len(GRADIENT)) == (12, 8)


@pytest.mark.parametrize("name", MULTI_HEAD)
def test_multi_head_attention_agrees_with_torch(name: str) -> None:
    """Output and weights per head are those of nn.MultiheadAttention, with its parameters as torch stores them."""
    config, arrays = CASES[name], arrays_of(name)
    answer = attention(
        Problem(
            query=arrays["query"],
            key=arrays["key"],
            value=arrays["value"],
            multi_head=multi_head_of(config["H"], arrays, add_zero_attention=config.get("add_zero_attn", False)),
            visibility=Visibility(mask=mask_of(arrays, config["H"]), mask_polarity=MaskPolarity.TRUE_HIDES),
            outputs=frozenset({Quantity.WEIGHTS, Quantity.AVERAGED_WEIGHTS}),
        )
    )
    assert_close(answer.output, arrays["output"])
    assert_close(answer.weights, arrays["weights"])
    assert_close(answer.averaged_weights, arrays["weights"].mean(axis=1))


def test_the_causal_golden_is_also_the_causal_option() -> None:
    """What torch was told by a triangular mask, this core can be told by causal."""
    arrays = arrays_of("mha9")
    answer = attention(
        Problem(
            query=arrays["query"],
            key=arrays["key"],
            value=arrays["value"],
            multi_head=multi_head_of(2, arrays, add_zero_attention=False),
            visibility=Visibility(causal=True),
        )
    )
    assert_close(answer.output, arrays["output"])


@pytest.mark.parametrize("name", GRADIENT)
def test_the_forward_of_the_gradient_cases_agrees_with_torch(name: str) -> None:
    """Output and log-sum-exp are torch's for causal, scale, masks, grouped heads, more keys, and softcap."""
    config, arrays = CASES[name], arrays_of(name)
    answer = attention(
        Problem(
            query=arrays["query"],
            key=arrays["key"],
            value=arrays["value"],
            visibility=Visibility(
                mask=arrays.get("attn_mask"), causal=config.get("causal", False), alignment=Alignment.TOP_LEFT
            ),
            scoring=Scoring(scale=config.get("scale"), softcap=config.get("softcap", 0.0)),
            outputs=frozenset({Quantity.LOG_SUM_EXP}),
        )
    )
    assert_close(answer.output, arrays["output"])
    assert_close(answer.log_sum_exp, arrays["log_sum_exp"])
