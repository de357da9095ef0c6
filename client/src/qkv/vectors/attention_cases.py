"""Calls of Attend by what they show: shapes, heads and projections, which keys are seen, and how pairs are scored."""

from collections.abc import Callable
from typing import Any, get_args

import numpy as np

from qkv._attention import attention, multi_head_attention
from qkv._calls import Call
from qkv._options import PathName, QuantityName
from qkv.vectors.draw import Cases, Draw

PRESENT: tuple[QuantityName, ...] = ("present_key", "present_value")
QUANTITIES: tuple[QuantityName, ...] = (
    "scores",
    "capped_scores",
    "masked_scores",
    "weights",
    "averaged_weights",
    "log_sum_exp",
)


def _never_read(x: Draw) -> Call[Any]:
    """What key lengths hide is NaN and infinite."""
    query, key, value = x.qkv()
    for row, length in enumerate(x.of.key_lengths):
        key[row, :, length:], value[row, :, length:] = np.nan, np.inf
    return attention(query, key, value, key_lengths=x.of.key_lengths)


SHAPES: Cases = {
    "plain": lambda x: attention(*x.qkv()),
    "self_attention": lambda x: attention(x.array(x.of.batch, x.of.queries, x.of.head_size)),
    "key_is_value": lambda x: attention(*x.qkv()[:2]),
    "rank_2": lambda x: attention(*x.flat(), outputs=["weights", "log_sum_exp"]),
    "rank_2_heads": lambda x: attention(
        *x.flat(heads=x.of.heads, kv_heads=x.of.kv_heads),
        heads=x.of.heads,
        kv_heads=x.of.kv_heads,
        outputs=["weights", *PRESENT],
    ),
    "rank_3_heads": lambda x: attention(
        *x.joined(kv_heads=x.of.kv_heads), heads=x.of.heads, kv_heads=x.of.kv_heads, outputs=["averaged_weights"]
    ),
    "sequence_first": lambda x: attention(
        *(array.swapaxes(1, 2) for array in x.qkv(kv_heads=x.of.kv_heads)), axis_order="sequence_first"
    ),
    "grouped_heads": lambda x: attention(*x.qkv(kv_heads=x.of.kv_heads), outputs=["log_sum_exp"]),
    "multi_query": lambda x: attention(*x.qkv(kv_heads=1)),
}

PROJECTIONS: Cases = {
    "projections": lambda x: multi_head_attention(
        *x.features(), heads=x.of.heads, kv_heads=x.of.kv_heads, outputs=PRESENT, **x.projections()
    ),
    "extra_key": lambda x: multi_head_attention(
        *x.joined(kv_heads=x.of.kv_heads),
        heads=x.of.heads,
        kv_heads=x.of.kv_heads,
        mask=x.hiding_rows(),
        outputs=["weights"],
        **x.extras(),
    ),
    "torch_multi_head": lambda x: multi_head_attention(
        *x.features(),
        heads=x.of.heads,
        kv_heads=x.of.kv_heads,
        mask=x.flags(x.of.batch, 1, 1, x.of.keys),
        mask_polarity="true_hides",
        outputs=["averaged_weights"],
        **(x.projections() | x.extras() | {"add_zero_attention": True}),
    ),
}

VISIBILITY: Cases = {
    "mask_boolean": lambda x: attention(*x.qkv(), mask=x.flags(x.of.queries, x.of.keys)),
    "mask_of_keys_true_hides": lambda x: attention(*x.qkv(), mask=x.flags(x.of.keys), mask_polarity="true_hides"),
    "mask_per_head": lambda x: attention(*x.qkv(), mask=x.biases(x.of.heads, x.of.queries, x.of.keys)),
    "mask_per_row": lambda x: attention(*x.qkv(), mask=x.biases(x.of.batch, 1, x.of.queries, x.of.keys)),
    "mask_padded_with_hidden": lambda x: attention(*x.qkv(), mask=x.biases(x.of.queries, x.of.keys - 2)),
    "causal": lambda x: attention(*x.qkv(keys=x.of.queries), causal=True),
    "causal_top_left": lambda x: attention(*x.qkv(), causal=True, alignment="top_left"),
    "causal_bottom_right": lambda x: attention(*x.qkv(), causal=True, alignment="bottom_right"),
    "causal_more_queries": lambda x: attention(
        *x.qkv(queries=x.of.keys, keys=x.of.queries), causal=True, alignment="bottom_right"
    ),
    "window_causal": lambda x: attention(*x.qkv(keys=x.of.queries), causal=True, window=(x.of.near, None)),
    "window": lambda x: attention(*x.qkv(), window=(x.of.near, 1), alignment="top_left"),
    "chunks": lambda x: attention(*x.qkv(), causal=True, chunk_size=x.of.near, alignment="bottom_right"),
    "key_lengths": lambda x: attention(*x.qkv(), key_lengths=x.of.key_lengths),
    "lengths_causal": lambda x: attention(
        *x.qkv(),
        causal=True,
        alignment="bottom_right",
        key_lengths=x.of.key_lengths,
        query_lengths=x.of.query_lengths,
    ),
    "segments": lambda x: attention(*x.qkv(batch=1), causal=True, alignment="bottom_right", **x.of.segments),
    "block_map": lambda x: attention(*x.qkv(), **x.block_map()),
    "empty_row_zero": lambda x: attention(*x.qkv(), mask=x.hiding_rows(), outputs=["weights", "log_sum_exp"]),
    "empty_row_nan": lambda x: attention(*x.qkv(), mask=x.hiding_rows(), empty_row="nan"),
    "empty_row_mean_value": lambda x: attention(
        *x.qkv(), mask=x.hiding_rows(), empty_row="mean_value", key_lengths=x.of.key_lengths, outputs=["weights"]
    ),
    "hidden_is_never_read": _never_read,
}

SCORING: Cases = {
    "scale": lambda x: attention(*x.qkv(), scale=0.25),
    "softcap": lambda x: attention(*x.qkv(), softcap=1.5),
    "softmax_over_queries": lambda x: attention(*x.qkv(), softmax_axis="queries", outputs=["weights", "log_sum_exp"]),
    "softmax_precision": lambda x: attention(
        *x.qkv(), softmax_precision="float32" if x.dtype == np.float64 else "float64", outputs=["log_sum_exp"]
    ),
    "log_base_two": lambda x: attention(*x.qkv(), log_base="two", outputs=["log_sum_exp"]),
    "sinks": lambda x: attention(
        *x.qkv(), mask=x.hiding_rows(), sinks=x.array(x.of.heads), empty_row="nan", outputs=["weights", "log_sum_exp"]
    ),
    "alibi": lambda x: attention(*x.qkv(), alibi=True, causal=True, alignment="bottom_right"),
    "alibi_slopes": lambda x: attention(*x.qkv(), alibi=abs(x.array(x.of.batch, x.of.heads)), alignment="top_left"),
    "relative_bias": lambda x: attention(
        *x.qkv(keys=x.of.queries),
        causal=True,
        relative_bias={"table": x.array(4, x.of.heads), "max_distance": x.of.trained},
    ),
    "relative_bias_bidirectional": lambda x: attention(
        *x.qkv(), relative_bias={"table": x.array(8, x.of.heads), "bidirectional": True}, alignment="top_left"
    ),
    "every_quantity": lambda x: attention(
        *x.qkv(),
        scale=0.5,
        softcap=2.0,
        mask=x.biases(x.of.queries, x.of.keys),
        outputs=(*QUANTITIES, *PRESENT),
    ),
    "mixed_types": lambda x: attention(
        *x.qkv()[:2],
        x.qkv()[2].astype("float16"),
        mask=x.biases(x.of.queries, x.of.keys).astype("bfloat16"),
        sinks=x.array(x.of.heads).astype("float32"),
    ),
}

CACHES: Cases = {
    "cache_decode": lambda x: attention(
        *x.qkv(kv_heads=x.of.kv_heads, queries=1, keys=1),
        causal=True,
        outputs=PRESENT,
        **x.cache(kv_heads=x.of.kv_heads),
    ),
    "cache_prefill": lambda x: attention(
        *x.qkv(keys=x.of.queries), causal=True, mask=x.flags(x.of.queries, x.of.past + x.of.queries), **x.cache()
    ),
    "cache_rotary": lambda x: attention(
        *x.qkv(keys=x.of.queries), causal=True, rotary={}, outputs=PRESENT, **x.cache()
    ),
}


def _on_path(path: PathName) -> Callable[[Draw], Call[Any]]:
    return lambda x: attention(
        *x.qkv(kv_heads=x.of.kv_heads), causal=True, alignment="bottom_right", path=path, outputs=["log_sum_exp"]
    )


PATHS: Cases = {f"path_{path}": _on_path(path) for path in get_args(PathName)}
