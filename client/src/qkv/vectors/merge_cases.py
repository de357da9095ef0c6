"""Calls of Merge: answers over parts of the keys."""

import numpy as np

from qkv._merge import merge
from qkv.codec import Array
from qkv.vectors.draw import Cases, Draw


def _part(x: Draw, *, sequence_first: bool = False) -> tuple[Array, Array]:
    """An output (B, H, L, Dv), or (B, L, H, Dv), and its log-sum-exp (B, H, L)."""
    s = x.of
    output = x.array(s.batch, s.heads, s.queries, s.value_size)
    log_sum_exp = x.array(s.batch, s.heads, s.queries)
    return output.swapaxes(1, 2) if sequence_first else output, _precise(log_sum_exp)


def _empty(x: Draw) -> tuple[Array, Array]:
    """A part that saw nothing; what its output holds is never read."""
    output, log_sum_exp = _part(x)
    return np.full_like(output, np.nan), np.full_like(log_sum_exp, -np.inf)


def _precise(log_sum_exp: Array) -> Array:
    """In the type of the softmax, as the log-sum-exp of an answer is."""
    return log_sum_exp.astype(np.result_type(log_sum_exp.dtype, np.float32))


MERGES: Cases = {
    "merge": lambda x: merge([_part(x), _part(x)]),
    "merge_defaults_said": lambda x: merge([_part(x)] * 2, axis_order="heads_first", log_base="e", semantics_version=1),
    "merge_with_an_empty_part": lambda x: merge([_part(x), _empty(x), _part(x)]),
    "merge_sequence_first": lambda x: merge(
        [_part(x, sequence_first=True) for _ in range(3)], axis_order="sequence_first", log_base="two"
    ),
}
