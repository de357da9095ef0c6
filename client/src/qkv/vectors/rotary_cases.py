"""Calls of Attend with rotary embedding, in every pairing and scaling, and with much else beside it."""

from typing import Any

import numpy as np

from qkv._attention import attention
from qkv._calls import Call
from qkv._rotary import RotaryOptions
from qkv.vectors.attention_cases import PRESENT
from qkv.vectors.draw import Cases, Draw


def _rotated(x: Draw, rotary: RotaryOptions) -> Call[Any]:
    return attention(*x.qkv(kv_heads=x.of.kv_heads), alignment="bottom_right", rotary=rotary, outputs=["present_key"])


def _factors(x: Draw, step: float) -> list[float]:
    return [1 + step * pair for pair in range(x.of.head_size // 2)]


ROTARY: Cases = {
    "rotary": lambda x: _rotated(x, {}),
    "rotary_interleaved": lambda x: _rotated(x, {"pairing": "interleaved", "base": 500.0}),
    "rotary_partial": lambda x: _rotated(x, {"rotary_size": x.of.head_size // 2}),
    "rotary_positions": lambda x: attention(
        *x.qkv(),
        rotary={
            "query_positions": x.permutation(x.of.queries).astype(np.int64),
            "key_positions": np.stack([x.permutation(x.of.keys) for _ in range(x.of.batch)]).astype(np.int32),
        },
    ),
    "rotary_positions_narrow": lambda x: attention(
        *x.qkv(),
        rotary={
            "query_positions": -(x.permutation(x.of.queries) % 128).astype(np.int8),
            "key_positions": (x.permutation(x.of.keys) % 256).astype(np.uint8),
        },
    ),
    "rotary_linear": lambda x: _rotated(x, {"linear": {"factor": 4.0}}),
    "rotary_dynamic_ntk": lambda x: _rotated(x, {"dynamic_ntk": {"factor": 2.0, "original_length": x.of.trained}}),
    "rotary_yarn": lambda x: _rotated(
        x,
        {
            "base": 10.0,
            "yarn": {"factor": 4.0, "original_length": x.of.trained, "beta_fast": 0.2, "beta_slow": 0.02},
        },
    ),
    "rotary_yarn_in_full": lambda x: _rotated(
        x,
        {
            "base": 10.0,
            "yarn": {
                "factor": 4.0,
                "original_length": x.of.trained,
                "beta_fast": 0.2,
                "beta_slow": 0.02,
                "attention_factor": 1.5,
                "truncate": False,
            },
        },
    ),
    "rotary_longrope": lambda x: _rotated(
        x,
        {
            "longrope": {
                "short_factors": _factors(x, 0),
                "long_factors": _factors(x, 0.5),
                "original_length": x.of.trained,
                "factor": 2.0,
            }
        },
    ),
    "rotary_longrope_short": lambda x: _rotated(
        x,
        {
            "sequence_length": x.of.trained,
            "longrope": {
                "short_factors": _factors(x, 0.25),
                "long_factors": _factors(x, 2),
                "original_length": x.of.trained,
                "attention_factor": 1.25,
            },
        },
    ),
    "rotary_llama3": lambda x: _rotated(
        x,
        {
            "base": 100.0,
            "llama3": {
                "factor": 8.0,
                "low_frequency_factor": 0.25,
                "high_frequency_factor": 1.0,
                "original_length": x.of.trained,
            },
        },
    ),
    "defaults_said": lambda x: attention(
        *x.qkv(),
        axis_order="heads_first",
        mask=x.hiding_rows(),
        mask_polarity="true_attends",
        empty_row="zero",
        softmax_axis="keys",
        log_base="e",
        rotary={"base": 10000.0, "rotary_size": x.of.head_size, "pairing": "half_split"},
        alignment="top_left",
        outputs=["log_sum_exp"],
        semantics_version=1,
    ),
    "model_decode": lambda x: attention(  # a token of a decoder as GPT-OSS is one
        *x.qkv(kv_heads=x.of.kv_heads, queries=1, keys=1),
        **x.cache(kv_heads=x.of.kv_heads),
        causal=True,
        window=(x.of.near, None),
        sinks=x.array(x.of.heads),
        rotary={"base": 150000.0, "yarn": {"factor": 32.0, "original_length": x.of.trained}},
        outputs=[*PRESENT, "log_sum_exp"],
    ),
}
