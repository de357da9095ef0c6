"""The straight way of one call: check, project, attend, project back, and answer in the form that was asked."""

import math
from typing import Any

import numpy as np

from qkv_server.core import planner, reference
from qkv_server.core.blocked import Blocks
from qkv_server.core.check import check
from qkv_server.core.dimensions import Dimensions
from qkv_server.core.layout import cache_heads_first, heads_first, joined_heads, quantity_as_asked
from qkv_server.core.precision import widened
from qkv_server.core.problem import Answer, Array, AxisOrder, LogBase, MultiHead, Path, Problem, Quantity
from qkv_server.core.projections import project
from qkv_server.core.threads import Cancellation, Spread, one_after_another
from qkv_server.core.visibility import valid_queries
from qkv_server.core.work import Work


def attention(problem: Problem) -> Answer:
    """Answer one attention call; raises InvalidProblemError naming every wrong field.

    The output and every quantity have the type of the query, but for log-sum-exp, which has that of the softmax.
    """
    return solve(problem, check(problem))


def solve(
    problem: Problem,
    dimensions: Dimensions,
    spread: Spread = one_after_another,
    threads: int = 1,
    cancellation: Cancellation | None = None,
) -> Answer:
    """Answer a problem whose dimensions were checked.

    `spread` runs its tasks, on about so many `threads`: neither changes a bit of the answer. Raises CancelledError
    within one tile after the cancellation.
    """
    with np.errstate(all="ignore"):  # NaN and infinity are answers here, not accidents
        query, key, value = _per_head(problem, dimensions)
        all_keys, all_values = _with_extras(key, value, problem.multi_head, dimensions)
        options = problem.visibility, problem.scoring, dimensions
        plan = planner.plan(problem, dimensions, threads)
        if plan is None:
            work = reference.attend(query, all_keys, all_values, *options)
        else:
            blocks = Blocks(
                query, all_keys, all_values, *options, problem.outputs, plan, cancellation or Cancellation()
            )
            spread(list(blocks.tasks()))
            work = blocks.work()
        return _answer(problem, dimensions, work, key, value, Path.REFERENCE if plan is None else plan.path)


def _per_head(problem: Problem, dimensions: Dimensions) -> tuple[Array, Array, Array]:
    """Query (B, Hq, L, D), key (B, Hkv, P + S, D) and value (B, Hkv, P + S, Dv), projected, the cache before them."""
    heads = problem.multi_head
    key_source = problem.key if problem.key is not None else problem.query
    value_source = problem.value if problem.value is not None else key_source
    query = project(problem.query, heads.query_weight, heads.query_bias, dimensions.compute)
    key = project(key_source, heads.key_weight, heads.key_bias, dimensions.compute)
    value = project(value_source, heads.value_weight, heads.value_bias, dimensions.compute)
    return (
        heads_first(query, dimensions.heads, heads.axis_order),
        _after_past(problem.past_key, heads_first(key, dimensions.kv_heads, heads.axis_order), dimensions),
        _after_past(problem.past_value, heads_first(value, dimensions.kv_heads, heads.axis_order), dimensions),
    )


def _after_past(past: Array | None, new: Array, dimensions: Dimensions) -> Array:
    """The cache and then the new keys or values, (B, Hkv, P + S, D)."""
    if past is None:
        return new
    return np.concatenate((widened(cache_heads_first(past, dimensions), dimensions.compute), new), axis=2)


def _with_extras(key: Array, value: Array, heads: MultiHead, dimensions: Dimensions) -> tuple[Array, Array]:
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


def _answer(problem: Problem, dimensions: Dimensions, work: Work, key: Array, value: Array, path: Path) -> Answer:
    """The output and the quantities asked for, in the layout and type of the question."""

    def quantity(asked: Quantity) -> Array:
        if asked is Quantity.AVERAGED_WEIGHTS:
            return quantity_as_asked(_quantity(work.weights).mean(axis=1), dimensions, heads_asked=True)
        if asked is Quantity.PRESENT_KEY:
            array = key
        elif asked is Quantity.PRESENT_VALUE:
            array = value
        else:
            array = _quantity(getattr(work, asked.value))
        if asked is Quantity.LOG_SUM_EXP and problem.scoring.log_base is LogBase.TWO:
            array = array * array.dtype.type(math.log2(math.e))
        return quantity_as_asked(array, dimensions, heads_asked=problem.multi_head.heads > 0)

    dtypes = dict.fromkeys(Quantity, problem.query.dtype) | {Quantity.LOG_SUM_EXP: dimensions.softmax}
    quantities: dict[str, Any] = {
        asked.value: quantity(asked).astype(dtypes[asked], copy=False) for asked in problem.outputs
    }
    output = _output(work.output, problem, dimensions).astype(problem.query.dtype, copy=False)
    return Answer(output=output, path=path, **quantities)


def _quantity(array: Array | None) -> Array:
    """A quantity that was asked for, which every path computes."""
    assert array is not None  # noqa: S101 - Work promises it
    return array


def _output(per_head: Array, problem: Problem, dimensions: Dimensions) -> Array:
    """(B, Hq, L, Dv) → the layout of the query, through the output projection if there is one."""
    multi_head = problem.multi_head
    if dimensions.rank == 4:
        return per_head if multi_head.axis_order is AxisOrder.HEADS_FIRST else per_head.swapaxes(1, 2)
    output = project(joined_heads(per_head), multi_head.output_weight, multi_head.output_bias, dimensions.compute)
    if multi_head.output_bias is not None:  # padding is answered with 0, also where a bias was added
        output = np.where(valid_queries(problem.visibility, dimensions)[..., None], output, output.dtype.type(0))
    return output[0] if dimensions.rank == 2 else output
