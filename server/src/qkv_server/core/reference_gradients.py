"""The definition of the gradients: the steps of `reference` backwards, on whole arrays.

    dV       = weightsᵀ · dO                                   (B, Hkv, T, Dv)
    dweights = dO · Vᵀ                                         (B, Hq, L, T)
    dmasked  = weights · (dweights − Σ weights · dweights)     the sum along the axis of the softmax
    dscores  = dmasked · (1 − tanh²(scores / softcap))
    dQ       = scale · dscores · K,  dK = scale · dscoresᵀ · Q

A row that may see no key has a constant answer; of the answers that are means of values the values have a gradient.
"""

import math

import numpy as np

from qkv_server.core import reference
from qkv_server.core.dimensions import Dimensions
from qkv_server.core.empty_rows import empty_row
from qkv_server.core.precision import is_floating
from qkv_server.core.problem import Array, EmptyRow, Scoring, SoftmaxAxis, Visibility
from qkv_server.core.visibility import visible_pairs
from qkv_server.core.work import GradientWork


def differentiate(
    query: Array,
    key: Array,
    value: Array,
    d_output: Array,
    visibility: Visibility,
    scoring: Scoring,
    dimensions: Dimensions,
) -> GradientWork:
    """Gradients for `reference.attend`, from that of its output (B, Hq, L, Dv), which is 0 for padding."""
    d = dimensions
    work = reference.attend(query, key, value, visibility, scoring, d)
    visible = np.broadcast_to(visible_pairs(visibility, d), (d.batch, d.heads, d.queries, d.all_keys))
    empty = reference.empty_rows(visible, visibility, d)
    policy = empty_row(visibility, scoring)
    if policy is not EmptyRow.MEAN_VALUE:
        d_output = np.where(empty, 0, d_output)
    assert work.weights is not None and work.capped_scores is not None  # noqa: S101, PT018 - the reference has all
    weights = np.where(empty & (policy is EmptyRow.NAN), 0, work.weights)
    keys, values = (np.repeat(array, d.groups, axis=1) for array in (key, value))
    d_weights = np.where(visible, d_output @ values.swapaxes(-1, -2), 0)
    axis = -1 if scoring.softmax_axis is SoftmaxAxis.KEYS else -2
    seen = np.where(visible, weights, 0)
    mean = (seen * d_weights).sum(axis=axis, keepdims=True)
    d_masked = np.where(visible, seen * (d_weights - mean), 0)
    d_scores = d_masked
    if scoring.softcap:
        d_scores = np.where(visible, d_masked * (1 - (work.capped_scores / scoring.softcap) ** 2), 0)
    d_scores = d_scores * (1 / math.sqrt(d.head_size) if scoring.scale is None else scoring.scale)
    return GradientWork(
        d_query=(d_scores @ finite(keys)).astype(d.compute, copy=False),
        d_key=_of_kv_heads(d_scores.swapaxes(-1, -2) @ finite(query), d),
        d_value=_of_kv_heads(weights.swapaxes(-1, -2) @ d_output, d),
        d_mask=_of_mask(d_masked, visibility),
        d_sinks=_of_sinks(mean, work.log_sum_exp, scoring, d),
    )


def finite(array: Array) -> Array:
    """0 for what is not finite: where it is seen the scores are not finite either, and so is their gradient."""
    is_finite = np.isfinite(array)
    return array if is_finite.all() else np.where(is_finite, array, 0)


def summed_to(gradient: Array, shape: tuple[int, ...]) -> Array:
    """The gradient (B, Hq, L, W) of what was broadcast from a mask of that shape, which has four axes."""
    broadcast = tuple(axis for axis, size in enumerate(shape[:-1]) if size == 1)
    summed: Array = gradient.sum(axis=broadcast, keepdims=True)
    return summed


def _of_kv_heads(gradient: Array, dimensions: Dimensions) -> Array:
    """(B, Hq, …) summed over the query heads that share a key and value head."""
    d = dimensions
    summed: Array = gradient.reshape(d.batch, d.kv_heads, d.groups, *gradient.shape[2:]).sum(axis=2)
    return summed.astype(d.compute, copy=False)


def _of_mask(d_masked: Array, visibility: Visibility) -> Array | None:
    mask = visibility.mask
    if mask is None or not is_floating(mask.dtype):
        return None
    shape = (1,) * (4 - mask.ndim) + mask.shape
    return summed_to(d_masked[..., : mask.shape[-1]], shape).reshape(mask.shape)


def _of_sinks(mean: Array, log_sum_exp: Array | None, scoring: Scoring, dimensions: Dimensions) -> Array | None:
    """−Σ weight of the sink · Σ weights · dweights, of every row that has one."""
    if scoring.sinks is None or log_sum_exp is None:
        return None
    log_sum_exp = log_sum_exp.astype(dimensions.compute)
    sinks = scoring.sinks.astype(dimensions.compute)[:, None]
    shares = np.where(np.isneginf(log_sum_exp), 0, np.exp(sinks - log_sum_exp))  # (B, Hq, L)
    total: Array = -(shares * mean[..., 0]).sum(axis=(0, 2))
    return total
