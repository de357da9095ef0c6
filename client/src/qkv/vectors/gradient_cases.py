"""Calls of Differentiate: the gradients of what the other cases ask."""

from typing import Any

from qkv._calls import Call
from qkv._differentiate import differentiate
from qkv.vectors.draw import Cases, Draw


def _through(x: Draw, *, kv_heads: int | None = None, batch: int | None = None, **options: Any) -> Call[Any]:
    """Gradients of a call on rank 4, from a d_output (B, Hq, L, Dv)."""
    query, key, value = x.qkv(kv_heads=kv_heads, batch=batch)
    return differentiate(x.array(*query.shape[:3], value.shape[3]), query, key, value, **options)


GRADIENTS: Cases = {
    "gradient_plain": _through,
    "gradient_self_attention": lambda x: differentiate(
        x.array(x.of.queries, x.of.head_size), x.array(x.of.queries, x.of.head_size)
    ),
    "gradient_grouped_causal": lambda x: _through(
        x, kv_heads=x.of.kv_heads, causal=True, alignment="bottom_right", window=(x.of.near, None)
    ),
    "gradient_mask": lambda x: _through(x, mask=x.biases(x.of.heads, x.of.queries, x.of.keys)),
    "gradient_mask_boolean": lambda x: _through(x, mask=x.hiding_rows(), empty_row="mean_value"),
    "gradient_sinks": lambda x: _through(x, sinks=x.array(x.of.heads)),
    "gradient_softcap": lambda x: _through(x, scale=0.5, softcap=2.0, key_lengths=x.of.key_lengths),
    "gradient_softmax_over_queries": lambda x: _through(x, softmax_axis="queries"),
    "gradient_segments": lambda x: _through(x, batch=1, causal=True, alignment="bottom_right", **x.of.segments),
    "gradient_positions": lambda x: _through(
        x,
        alignment="bottom_right",
        alibi=True,
        relative_bias={"table": x.array(8, x.of.heads), "bidirectional": True},
        rotary={"pairing": "interleaved"},
    ),
    "gradient_cache": lambda x: _through(x, causal=True, alignment="top_left", **x.cache()),
    "gradient_projections": lambda x: differentiate(
        x.array(x.of.batch, x.of.queries, 5),
        *x.features(),
        heads=x.of.heads,
        kv_heads=x.of.kv_heads,
        **(x.projections() | x.extras() | {"add_zero_attention": True}),
    ),
}
