"""Joins the answers of one attention whose keys were split.

With log-sum-exps l₁, l₂, … and l = log Σ exp(lᵢ), the output over all keys is Σ exp(lᵢ − l)·outputᵢ ("Online normalizer
calculation for softmax", Milakov and Gimelshein, 2018; FlashInfer's merge_states).
"""

from collections.abc import Sequence

import numpy as np

from qkv_server.core.precision import compute_type, widened
from qkv_server.core.problem import Array, AxisOrder, LogBase, PartialResult
from qkv_server.core.threads import Cancellation
from qkv_server.core.violations import MOST_TOLD, Violations


@np.errstate(all="ignore")  # NaN and infinity are answers here, not accidents
def merge(
    parts: Sequence[PartialResult],
    axis_order: AxisOrder = AxisOrder.HEADS_FIRST,
    log_base: LogBase = LogBase.E,
    cancellation: Cancellation | None = None,
) -> PartialResult:
    """The answer over all the keys, shaped and typed as the first part; raises InvalidProblemError.

    Outputs are (L, H·Dv), (B, L, H·Dv), or of rank 4 in the axis order. A part of log-sum-exp −inf has no say in its
    row and is not read there; a row that no part saw is 0. Every log-sum-exp is in the base, the answer's too. Raises
    CancelledError within one part after the cancellation.
    """
    check_parts(parts, axis_order)
    cancellation = cancellation or Cancellation()
    compute = compute_type(*(array.dtype for part in parts for array in (part.output, part.log_sum_exp)))
    power, logarithm = (np.exp2, np.log2) if log_base is LogBase.TWO else (np.exp, np.log)
    logs = [widened(part.log_sum_exp, compute) for part in parts]
    largest = np.max(logs, axis=0)
    shift = np.where(np.isneginf(largest), 0, largest)
    shares = [power(log - shift) for log in logs]
    total = np.sum(shares, axis=0)
    per_head = np.zeros(_per_head(parts[0], axis_order).shape, compute)
    for part, share in zip(parts, shares, strict=True):
        cancellation.check()
        weight = (share / np.where(total == 0, 1, total))[..., None]
        np.add(per_head, weight * widened(_per_head(part, axis_order), compute), out=per_head, where=weight != 0)
    output = np.empty(parts[0].output.shape, parts[0].output.dtype)
    _per_head(PartialResult(output=output, log_sum_exp=parts[0].log_sum_exp), axis_order)[...] = per_head
    return PartialResult(
        output=output, log_sum_exp=(logarithm(total) + shift).astype(parts[0].log_sum_exp.dtype, copy=False)
    )


def _per_head(part: PartialResult, axis_order: AxisOrder) -> Array:
    """A view of the output in the order of the log-sum-exp: (…, H, L, Dv), or (L, Dv) without heads."""
    output, log_sum_exp = part.output, part.log_sum_exp
    if output.ndim == 4:
        return output if axis_order is AxisOrder.HEADS_FIRST else output.swapaxes(1, 2)
    if log_sum_exp.ndim == 1:
        return output
    heads = log_sum_exp.shape[-2]
    return output.reshape(*output.shape[:-1], heads, output.shape[-1] // heads).swapaxes(-3, -2)


def check_parts(parts: Sequence[PartialResult], axis_order: AxisOrder) -> None:
    """Raise InvalidProblemError, naming wrong fields as `parts[3].output`, unless the parts can be merged."""
    found = Violations()
    found.require(len(parts) > 0, "parts", "has 0 entries, expected at least 1")
    for place, part in enumerate(parts):
        if len(found) >= MOST_TOLD:
            break
        for name, array in (("output", part.output), ("log_sum_exp", part.log_sum_exp)):
            field = f"parts[{place}].{name}"
            found.require_floating(array.dtype, field)
            first: Array = getattr(parts[0], name)
            found.require(
                array.shape == first.shape, field, f"shape is {array.shape}, the first part has {first.shape}"
            )
    if parts:
        _check_shapes(parts[0], axis_order, found)
    found.raise_if_any()


def _check_shapes(part: PartialResult, axis_order: AxisOrder, found: Violations) -> None:
    output, logs, field = part.output.shape, part.log_sum_exp.shape, "parts[0].log_sum_exp"
    if not found.require(len(output) in (2, 3, 4), "parts[0].output", f"rank is {len(output)}, expected 2, 3 or 4"):
        return
    if len(output) == 2 and len(logs) == 1:
        found.require(
            logs == output[:1], field, f"shape is {logs}, expected {output[:1]}, one for each row of the output"
        )
        return
    queries_axis = 1 if len(output) == 3 or axis_order is AxisOrder.SEQUENCE_FIRST else 2
    queries = output[0] if len(output) == 2 else output[queries_axis]
    batch = output[:1] if len(output) > 2 else ()
    heads = output[3 - queries_axis] if len(output) == 4 else "heads"
    expected = (*batch, heads, queries)
    fits = len(logs) == len(expected) and all(want in ("heads", got) for got, want in zip(logs, expected, strict=True))
    if (
        not found.require(fits, field, f"shape is {logs}, expected ({', '.join(map(str, expected))})")
        or len(output) == 4
    ):
        return
    found.require(
        logs[-2] > 0 and output[-1] % logs[-2] == 0,
        field,
        f"has {logs[-2]} heads, expected a divisor of {output[-1]}, the last axis of the output",
    )
