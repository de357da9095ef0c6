"""From operands as they were sent to heads: projected, turned, after the cache; and the way back of their gradients."""

import numpy as np

from qkv_server.core.dimensions import Dimensions
from qkv_server.core.layout import cache_heads_first, heads_first, joined_heads
from qkv_server.core.precision import widened
from qkv_server.core.problem import Array, AxisOrder, MultiHead, Problem
from qkv_server.core.projections import project
from qkv_server.core.rotary import turns


def per_head(problem: Problem, dimensions: Dimensions) -> tuple[Array, Array, Array]:
    """Query (B, Hq, L, D), key (B, Hkv, P + S, D), value (B, Hkv, P + S, Dv): projected, turned, after the cache."""
    heads = problem.multi_head
    key_source = problem.key if problem.key is not None else problem.query
    value_source = problem.value if problem.value is not None else key_source
    query = project(problem.query, heads.query_weight, heads.query_bias, dimensions.compute)
    key = project(key_source, heads.key_weight, heads.key_bias, dimensions.compute)
    value = project(value_source, heads.value_weight, heads.value_bias, dimensions.compute)
    query = heads_first(query, dimensions.heads, heads.axis_order)
    key, value = (heads_first(array, dimensions.kv_heads, heads.axis_order) for array in (key, value))
    if problem.rotary is not None:
        of_queries, of_keys = turns(problem.rotary, problem.visibility, dimensions)
        query, key = of_queries.forth(query), of_keys.forth(key)
    return (
        query,
        _after_past(problem.past_key, key, dimensions),
        _after_past(problem.past_value, value, dimensions),
    )


def _after_past(past: Array | None, new: Array, dimensions: Dimensions) -> Array:
    """The cache and then the new keys or values, (B, Hkv, P + S, D)."""
    if past is None:
        return new
    return np.concatenate((widened(cache_heads_first(past, dimensions), dimensions.compute), new), axis=2)


def with_extras(key: Array, value: Array, heads: MultiHead, dimensions: Dimensions) -> tuple[Array, Array]:
    """Keys and values with the learned one and the zero one appended (torch: bias_k and bias_v, then zeros)."""

    def extended(array: Array, extra: Array | None) -> Array:
        batch, kv_heads, _, size = array.shape
        parts = [array]
        if extra is not None:
            per_head = widened(extra, dimensions.compute).reshape(1, kv_heads, 1, size)
            parts.append(np.broadcast_to(per_head, (batch, kv_heads, 1, size)))
        if heads.add_zero_attention:
            parts.append(np.zeros((batch, kv_heads, 1, size), dimensions.compute))
        return np.concatenate(parts, axis=2) if len(parts) > 1 else array

    return extended(key, heads.extra_key), extended(value, heads.extra_value)


def output_gradient(d_output: Array, problem: Problem, dimensions: Dimensions) -> Array:
    """The gradient of the output, as it was sent → of the heads that it is made of, (B, Hq, L, Dv)."""
    multi_head, gradient = problem.multi_head, widened(d_output, dimensions.compute)
    if dimensions.rank < 4 and multi_head.output_weight is not None:
        gradient = gradient @ widened(multi_head.output_weight, dimensions.compute)
    return heads_first(gradient, dimensions.heads, multi_head.axis_order)


def operand_gradients(
    d_query: Array, d_key: Array, d_value: Array, problem: Problem, dimensions: Dimensions
) -> dict[str, Array]:
    """Gradients of heads, (B, Hq, L, D), (B, Hkv, T, D) and (B, Hkv, T, Dv) with every key → of the operands given."""
    new = slice(dimensions.past, dimensions.keys)
    d_key, d_value = d_key[:, :, new], d_value[:, :, new]
    if problem.rotary is not None:
        of_queries, of_keys = turns(problem.rotary, problem.visibility, dimensions)
        d_query, d_key = of_queries.back(d_query), of_keys.back(d_key)
    gradients: dict[str, Array] = {}
    source = "query"
    for name, of_heads in (("query", d_query), ("key", d_key), ("value", d_value)):
        if getattr(problem, name) is not None:
            source = name  # an operand that was not given is the one before
        gradient = _as_sent(of_heads, getattr(problem.multi_head, f"{name}_weight"), problem, dimensions)
        gradients[source] = gradients[source] + gradient if source in gradients else gradient
    return {name: gradient.astype(getattr(problem, name).dtype, copy=False) for name, gradient in gradients.items()}


def _as_sent(gradient: Array, weight: Array | None, problem: Problem, dimensions: Dimensions) -> Array:
    """The gradient of heads (B, H, N, …) in the layout of the operand, before its projection."""
    if dimensions.rank == 4:
        return gradient if problem.multi_head.axis_order is AxisOrder.HEADS_FIRST else gradient.swapaxes(1, 2)
    joined = joined_heads(gradient)
    if weight is not None:
        joined = joined @ widened(weight, dimensions.compute)
    return joined[0] if dimensions.rank == 2 else joined
