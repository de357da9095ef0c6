"""How much memory a problem needs, known from its dimensions before anything is allocated."""

import math
from collections.abc import Sequence

from qkv_server.core.dimensions import Dimensions
from qkv_server.core.planner import plan
from qkv_server.core.precision import FLOAT64, is_floating
from qkv_server.core.problem import Array, PartialResult, Problem, Quantity, SoftmaxAxis

REFERENCE_SCORES = 6  # arrays of scores that the reference holds at its peak
REFERENCE_GRADIENT_SCORES = 4  # and how many more its gradients do
PER_HEAD_SCORES = (Quantity.SCORES, Quantity.CAPPED_SCORES, Quantity.MASKED_SCORES, Quantity.WEIGHTS)
SCORES_HELD = frozenset({*PER_HEAD_SCORES, Quantity.AVERAGED_WEIGHTS})


def answer_bytes(problem: Problem, dimensions: Dimensions) -> int:
    """The bytes of the output and of every quantity asked for. A zero axis counts as one, so no axis hides another."""
    d = dimensions
    width = problem.query.dtype.itemsize
    last_axis = d.heads * d.value_size if d.rank == 4 else d.out_features
    total = _size(d.batch, d.queries, last_axis) * width
    pairs = _size(d.batch, d.queries, d.all_keys)
    for quantity in problem.outputs:
        if quantity in PER_HEAD_SCORES:
            total += pairs * d.heads * width
        elif quantity is Quantity.AVERAGED_WEIGHTS:
            total += pairs * width
        elif quantity is Quantity.LOG_SUM_EXP:
            rows = d.queries if problem.scoring.softmax_axis is SoftmaxAxis.KEYS else d.all_keys
            total += _size(d.batch, d.heads, rows) * d.softmax.itemsize
        elif quantity is Quantity.PRESENT_KEY:
            total += _size(d.batch, d.kv_heads, d.keys, d.head_size) * width
        else:
            total += _size(d.batch, d.kv_heads, d.keys, d.value_size) * width
    return total


def working_bytes(problem: Problem, dimensions: Dimensions) -> int:
    """The most bytes that answering needs at once, the answer included.

    The reference holds arrays of scores of the compute or softmax type, with their booleans, twice as many in float64
    as in float32. The blocked path holds those that are asked for, twice the mask, and tiles.
    """
    return _working_bytes(problem, dimensions, problem.outputs, REFERENCE_SCORES) + answer_bytes(problem, dimensions)


def gradient_bytes(problem: Problem) -> int:
    """The bytes of the gradients of the operands that were given."""
    operands = (problem.query, problem.key, problem.value, problem.scoring.sinks, _floating_mask(problem))
    return sum(operand.nbytes for operand in operands if operand is not None)


def gradient_working_bytes(problem: Problem, dimensions: Dimensions) -> int:
    """The most bytes that differentiating needs at once, the gradients included."""
    d = dimensions
    mask = _floating_mask(problem)
    operands = _size(d.batch, d.heads, d.queries, 3 * d.head_size + 3 * d.value_size)
    operands += _size(d.batch, d.kv_heads, d.all_keys, 3 * d.head_size + 2 * d.value_size)
    operands += 0 if mask is None else mask.size
    forward = _working_bytes(problem, dimensions, frozenset(), REFERENCE_SCORES + REFERENCE_GRADIENT_SCORES)
    return forward + operands * d.compute.itemsize + gradient_bytes(problem)


def merging_bytes(parts: Sequence[PartialResult]) -> int:
    """The most bytes that merging needs at once: sums, one part's terms, and every logarithm with its share."""
    outputs = max((part.output.size for part in parts), default=0)
    logarithms = sum(part.log_sum_exp.size for part in parts)
    return (4 * outputs + 5 * logarithms) * FLOAT64.itemsize


def _working_bytes(
    problem: Problem, dimensions: Dimensions, outputs: frozenset[Quantity], reference_scores: int
) -> int:
    d = dimensions
    chosen = plan(problem, d, threads=1)
    parts = 1
    if chosen is None:
        wide = max(d.compute.itemsize, d.softmax.itemsize)
        doubled = 2 if d.compute == FLOAT64 else 1
        scores = _size(d.batch, d.heads, d.queries, d.all_keys) * (reference_scores * doubled * wide + 2)
    else:
        asked = len(outputs & SCORES_HELD)
        scores = _size(d.batch, d.heads, d.queries, d.all_keys) * asked * d.compute.itemsize
        mask = problem.visibility.mask
        scores += 0 if mask is None else 2 * mask.nbytes
        parts = -(-d.all_keys // chosen.split) if chosen.split else 1
    of_heads = _size(d.batch, d.heads, d.queries, d.head_size + parts * (d.value_size + 2))
    of_heads += 2 * _size(d.batch, d.kv_heads, d.all_keys, d.head_size + d.value_size)
    return scores + of_heads * d.compute.itemsize


def _floating_mask(problem: Problem) -> Array | None:
    mask = problem.visibility.mask
    return mask if mask is not None and is_floating(mask.dtype) else None


def _size(*axes: int) -> int:
    return math.prod([axis or 1 for axis in axes])
