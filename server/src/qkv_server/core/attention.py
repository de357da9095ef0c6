"""The straight way of one call: check, project, attend, project back, and answer in the form that was asked."""

import math
from typing import Any

import numpy as np

from qkv_server.core import planner, reference
from qkv_server.core.blocked import Blocks
from qkv_server.core.check import check
from qkv_server.core.dimensions import Dimensions
from qkv_server.core.layout import joined_heads, quantity_as_asked
from qkv_server.core.operands import per_head, with_extras
from qkv_server.core.positions import valid_queries
from qkv_server.core.problem import Answer, Array, AxisOrder, LogBase, Problem, Quantity
from qkv_server.core.projections import project
from qkv_server.core.threads import Cancellation, Spread, one_after_another
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
    within one tile, or one part of the reference, after the cancellation.
    """
    with np.errstate(all="ignore"):  # NaN and infinity are answers here, not accidents
        query, key, value = per_head(problem, dimensions)
        all_keys, all_values = with_extras(key, value, problem.multi_head, dimensions)
        heads = (query, all_keys, all_values)
        cancellation = cancellation or Cancellation()
        if planner.takes_reference(problem, dimensions):
            work = reference.attend(*heads, problem.visibility, problem.scoring, dimensions, cancellation)
        else:
            work = _in_blocks(problem, dimensions, heads, spread, threads, cancellation)
        return _answer(problem, dimensions, work, key, value)


def _in_blocks(
    problem: Problem,
    dimensions: Dimensions,
    heads: tuple[Array, Array, Array],
    spread: Spread,
    threads: int,
    cancellation: Cancellation,
) -> Work:
    """The work of the path that the planner chose, on query (B, Hq, L, D), key and value (B, Hkv, T, …)."""
    joined = planner.in_one_row(problem, dimensions)
    if joined is not dimensions:
        try:
            query, key, value = (_in_one_row(array) for array in heads)
            heads = query, key, value
        except ValueError:  # rows that lie apart would have to be copied
            joined = dimensions
    plan = planner.plan(problem, joined, threads)
    assert plan is not None  # noqa: S101 - the reference has been ruled out
    blocks = Blocks(*heads, problem.visibility, problem.scoring, joined, problem.outputs, plan, cancellation)
    tasks = list(blocks.tasks())
    if planner.is_tiny(joined):
        one_after_another(tasks)
    else:
        spread([np.errstate(all="ignore")(task) for task in tasks])  # each thread has its own
    work = blocks.work()
    return work if joined is dimensions else work.of_batch(dimensions.batch)


def _in_one_row(heads: Array) -> Array:
    """A view (1, B·H, …) of heads (B, H, …); raises ValueError if there is none."""
    batch, per_row, *axes = heads.shape
    return heads.reshape(1, batch * per_row, *axes, copy=False)


def _answer(problem: Problem, dimensions: Dimensions, work: Work, key: Array, value: Array) -> Answer:
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

    dtype = problem.query.dtype
    quantities: dict[str, Any] = {
        asked.value: quantity(asked).astype(dimensions.softmax if asked is Quantity.LOG_SUM_EXP else dtype, copy=False)
        for asked in problem.outputs
    }
    output = _output(work.output, problem, dimensions).astype(dtype, copy=False)
    return Answer(output=output, path=work.path, **quantities)


def _quantity(array: Array | None) -> Array:
    """A quantity that was asked for, which every path computes."""
    assert array is not None  # noqa: S101 - Work promises it
    return array


def _output(of_heads: Array, problem: Problem, dimensions: Dimensions) -> Array:
    """(B, Hq, L, Dv) → the layout of the query, through the output projection if there is one."""
    multi_head = problem.multi_head
    if dimensions.rank == 4:
        return of_heads if multi_head.axis_order is AxisOrder.HEADS_FIRST else of_heads.swapaxes(1, 2)
    output = project(joined_heads(of_heads), multi_head.output_weight, multi_head.output_bias, dimensions.compute)
    if multi_head.output_bias is not None:  # padding is answered with 0, also where a bias was added
        output = np.where(valid_queries(problem.visibility, dimensions)[..., None], output, output.dtype.type(0))
    return output[0] if dimensions.rank == 2 else output
