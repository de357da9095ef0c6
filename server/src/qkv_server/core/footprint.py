"""How much memory a problem needs, known from its dimensions before anything is allocated."""

from qkv_server.core.dimensions import Dimensions
from qkv_server.core.planner import plan
from qkv_server.core.problem import Problem, Quantity, SoftmaxAxis

PER_HEAD_SCORES = (Quantity.SCORES, Quantity.CAPPED_SCORES, Quantity.MASKED_SCORES, Quantity.WEIGHTS)


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

    The reference holds about six arrays of scores of the compute or softmax type at its peak, with their booleans. The
    blocked path holds those that are asked for, what was sent of a mask as booleans and as numbers, and tiles.
    """
    d = dimensions
    chosen = plan(problem, d, threads=1)
    parts = 1
    if chosen is None:
        wide = max(d.compute.itemsize, d.softmax.itemsize)
        scores = _size(d.batch, d.heads, d.queries, d.all_keys) * (6 * wide + 2)
    else:
        asked = len(problem.outputs & {*PER_HEAD_SCORES, Quantity.AVERAGED_WEIGHTS})
        scores = _size(d.batch, d.heads, d.queries, d.all_keys) * asked * d.compute.itemsize
        mask = problem.visibility.mask
        scores += 0 if mask is None else mask.size * (1 + 2 * d.compute.itemsize)
        parts = -(-d.all_keys // chosen.split) if chosen.split else 1
    per_head = _size(d.batch, d.heads, d.queries, d.head_size + parts * (d.value_size + 2))
    per_head += 2 * _size(d.batch, d.kv_heads, d.all_keys, d.head_size + d.value_size)
    return scores + per_head * d.compute.itemsize + answer_bytes(problem, dimensions)


def _size(*axes: int) -> int:
    total = 1
    for axis in axes:
        total *= max(axis, 1)
    return total
