"""The straight way back of one call: from the gradient of its output to those of its operands.

"Automatic differentiation" in reverse, of the steps in `reference`; "FlashAttention" (Dao et al., 2022), appendix B.
"""

import numpy as np

from qkv_server.core import planner, reference_gradients
from qkv_server.core.blocked_gradients import BlockedGradients
from qkv_server.core.check import check
from qkv_server.core.dimensions import Dimensions
from qkv_server.core.operands import operand_gradients, output_gradient, per_head, with_extras
from qkv_server.core.positions import valid_queries
from qkv_server.core.problem import Array, AxisOrder, Gradients, Path, Problem
from qkv_server.core.threads import Cancellation, Spread, one_after_another
from qkv_server.core.violations import Violations


def differentiate(problem: Problem, d_output: Array) -> Gradients:
    """How a scalar changes with the operands, when d_output is how it changes with the output of the call.

    Raises InvalidProblemError naming every wrong field, `d_output` among them. The problem's outputs are not looked at.
    """
    dimensions = check(problem)
    check_d_output(problem, dimensions, d_output)
    return solve_gradients(problem, dimensions, d_output)


def check_d_output(problem: Problem, dimensions: Dimensions, d_output: Array) -> None:
    """Raise InvalidProblemError unless d_output is floating and shaped as the output of the problem."""
    found = Violations()
    found.require_floating(d_output.dtype, "d_output")
    d = dimensions
    if d.rank == 4:
        axes = (d.heads, d.queries) if problem.multi_head.axis_order is AxisOrder.HEADS_FIRST else (d.queries, d.heads)
        found.require_shape(d_output, (d.batch, *axes, d.value_size), "d_output")
    else:
        found.require_shape(d_output, (d.batch, d.queries, d.out_features)[3 - d.rank :], "d_output")
    found.raise_if_any()


def solve_gradients(
    problem: Problem,
    dimensions: Dimensions,
    d_output: Array,
    spread: Spread = one_after_another,
    threads: int = 1,
    cancellation: Cancellation | None = None,
) -> Gradients:
    """The gradients of a problem and a d_output that were checked; the rest is as for `solve`."""
    with np.errstate(all="ignore"):  # NaN and infinity are answers here, not accidents
        query, key, value = per_head(problem, dimensions)
        key, value = with_extras(key, value, problem.multi_head, dimensions)
        gradient = output_gradient(d_output, problem, dimensions)
        if len(problem.visibility.query_lengths):
            valid = valid_queries(problem.visibility, dimensions)[:, None, :, None]
            gradient = np.where(valid, gradient, dimensions.compute.type(0))
        options = problem.visibility, problem.scoring, dimensions
        cancellation = cancellation or Cancellation()
        plan = planner.plan(problem, dimensions, threads)
        if plan is None:
            work = reference_gradients.differentiate(query, key, value, gradient, *options, cancellation)
        else:
            blocks = BlockedGradients(query, key, value, gradient, *options, plan, cancellation)
            work = blocks.run(spread)
        operands = operand_gradients(work.d_query, work.d_key, work.d_value, problem, dimensions)
        mask, sinks = problem.visibility.mask, problem.scoring.sinks
        return Gradients(
            **{f"d_{name}": operand for name, operand in operands.items()},
            d_mask=None if work.d_mask is None or mask is None else work.d_mask.astype(mask.dtype, copy=False),
            d_sinks=None if work.d_sinks is None or sinks is None else work.d_sinks.astype(sinks.dtype, copy=False),
            path=Path.REFERENCE if plan is None else plan.path,
        )
