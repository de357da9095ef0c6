"""The definition of the gradients: the steps of `reference` backwards, part by part as there.

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
from qkv_server.core.problem import Array, EmptyRow, Scoring, Visibility
from qkv_server.core.reference import KEYS, QUERIES, parts, per_query_head
from qkv_server.core.threads import Cancellation
from qkv_server.core.work import GradientWork


def differentiate(
    query: Array,
    key: Array,
    value: Array,
    d_output: Array,
    visibility: Visibility,
    scoring: Scoring,
    dimensions: Dimensions,
    cancellation: Cancellation,
) -> GradientWork:
    """Gradients for `reference.attend`, from that of its output (B, Hq, L, Dv), which is 0 for padding.

    Raises CancelledError as that does; the sum for a mask is one step.
    """
    d = dimensions
    work = reference.attend(query, key, value, visibility, scoring, d, cancellation)
    assert work.weights is not None and work.capped_scores is not None  # noqa: S101, PT018 - the reference has all
    visible, empty = reference.visible_and_empty(visibility, d)
    policy = empty_row(visibility, scoring)
    if policy is not EmptyRow.MEAN_VALUE:
        d_output = np.where(empty, 0, d_output)
    constant = empty & (policy is EmptyRow.NAN)
    axis, free = reference.softmax_axes(scoring)
    scale = 1 / math.sqrt(d.head_size) if scoring.scale is None else scoring.scale
    d_masked, d_scores = np.empty(visible.shape, d.compute), np.empty(visible.shape, d.compute)  # at first dweights
    mean = np.empty((d.batch, d.heads, visible.shape[free]), d.compute)  # the sum of weights · dweights
    for part in parts(d, QUERIES, cancellation):
        d_masked[part] = d_scores[part] = d_output[part[:3]] @ per_query_head(value, part, d).swapaxes(-1, -2)
    for part in parts(d, free, cancellation):
        seen = visible[part]
        weights, d_weights = (np.where(seen, array[part], 0) for array in (work.weights, d_masked))
        total = (weights * d_weights).sum(axis=axis, keepdims=True)
        mean[(*part[:2], part[free])] = total.squeeze(axis)
        of_part = d_masked[part] = np.where(seen, weights * (d_weights - total), 0)
        if scoring.softcap:
            of_part = np.where(seen, of_part * (1 - (work.capped_scores[part] / scoring.softcap) ** 2), 0)
        d_scores[part] = of_part * scale
    query, key = finite(query), finite(key)
    d_query = np.empty(query.shape, d.compute)
    for part in parts(d, QUERIES, cancellation):
        d_query[part[:3]] = d_scores[part] @ per_query_head(key, part, d)
    d_key, d_value = (np.empty((d.batch, d.heads, d.all_keys, size), d.compute) for size in (d.head_size, d.value_size))
    for part in parts(d, KEYS, cancellation):
        rows, keys = part[:3], (*part[:2], part[KEYS])
        d_key[keys] = d_scores[part].swapaxes(-1, -2) @ query[rows]
        d_value[keys] = np.where(constant[rows], 0, work.weights[part]).swapaxes(-1, -2) @ d_output[rows]
    return GradientWork(
        d_query=d_query,
        d_key=_of_kv_heads(d_key, d),
        d_value=_of_kv_heads(d_value, d),
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
    total: Array = -(shares * mean).sum(axis=(0, 2))
    return total
