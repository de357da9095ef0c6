"""Joins answers over parts of the keys in this process, bit for bit as the server's AttentionService.Merge.

With log-sum-exps l₁, l₂, … and l = log Σ exp(lᵢ), the output over all keys is Σ exp(lᵢ − l)·outputᵢ ("Online normalizer
calculation for softmax", Milakov and Gimelshein, 2018).
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from qkv._options import AxisOrderName, LogBaseName
from qkv._results import AttentionResult, MergeResult

Array = npt.NDArray[Any]

FLOATING = ("float64", "float32", "float16", "bfloat16")
AXES: dict[AxisOrderName, tuple[int, int]] = {"heads_first": (1, 2), "sequence_first": (2, 1)}  # of heads and queries
POWERS: dict[LogBaseName, tuple[Any, Any]] = {"e": (np.exp, np.log), "two": (np.exp2, np.log2)}  # and logarithms


class PartialResult(NamedTuple):
    """The answer of an attention over some of the keys: a pair that can be merged again."""

    output: Array
    log_sum_exp: Array


Part = AttentionResult | MergeResult | PartialResult | tuple[npt.ArrayLike, npt.ArrayLike]


def pair_of(part: Part, place: int) -> tuple[npt.ArrayLike, npt.ArrayLike]:
    """The output and the log-sum-exp of a part; raises ValueError or TypeError naming it if it has not both."""
    if isinstance(part, AttentionResult | MergeResult):
        if part.log_sum_exp is None:
            raise ValueError(f'parts[{place}]: has no log_sum_exp, expected one asked with outputs=["log_sum_exp"]')
        return part.output, part.log_sum_exp
    try:
        output, log_sum_exp = part
    except (TypeError, ValueError):
        raise TypeError(f"parts[{place}]: expected a result, or a pair (output, log_sum_exp)") from None
    return output, log_sum_exp


@np.errstate(all="ignore")  # NaN and infinity are answers here, not accidents
def merge(
    parts: Sequence[Part], *, axis_order: AxisOrderName = "heads_first", log_base: LogBaseName = "e"
) -> PartialResult:
    """The attention over all keys, from the answers to equal queries over some of the keys each; without a server.

    Parts are results that were asked with outputs=["log_sum_exp"], or pairs (output, log_sum_exp): outputs (L, H·Dv) or
    (B, L, H·Dv) or of rank 4 in the axis order, log-sum-exps (B, H, L), for rank 2 (L) or (H, L), each in the base.
    A part with a log-sum-exp of −inf has no say in its row and is not read there; a row that no part saw is 0, with a
    log-sum-exp of −inf. The answer is shaped and typed as the first part. Raises ValueError naming every wrong part.
    """
    for option, given, choices in (("axis_order", axis_order, AXES), ("log_base", log_base, POWERS)):
        if given not in choices:
            raise ValueError(f"{option}: is {given!r}, expected one of {', '.join(map(repr, choices))}")
    pairs = [PartialResult(*map(_floating, pair_of(part, place))) for place, part in enumerate(parts)]
    if wrong := list(_what_is_wrong(pairs, axis_order)):
        raise ValueError("; ".join(wrong))
    first = pairs[0]
    compute = np.dtype(np.float64 if any(array.dtype == np.float64 for pair in pairs for array in pair) else np.float32)
    power, logarithm = POWERS[log_base]
    logs = [pair.log_sum_exp.astype(compute, copy=False) for pair in pairs]
    largest = np.max(logs, axis=0)
    shift = np.where(np.isneginf(largest), 0, largest)
    shares = [power(log - shift) for log in logs]
    total = np.sum(shares, axis=0)
    divisor = np.where(total == 0, 1, total)
    output = np.empty_like(first.output, order="C")
    joined = np.zeros(_by_head(output, first.log_sum_exp, axis_order).shape, compute)
    for pair, share in zip(pairs, shares, strict=True):
        weight = (share / divisor)[..., np.newaxis]
        term = weight * _by_head(pair.output, pair.log_sum_exp, axis_order).astype(compute, copy=False)
        np.add(joined, term, out=joined, where=weight != 0)
    _by_head(output, first.log_sum_exp, axis_order)[...] = joined
    return PartialResult(output, (logarithm(total) + shift).astype(first.log_sum_exp.dtype, copy=False))


def _floating(given: npt.ArrayLike) -> Array:
    """The array; numbers that Python wrote are float64."""
    array = np.asarray(given)
    return array.astype(np.float64) if not hasattr(given, "dtype") and array.dtype.kind in "iu" else array


def _by_head(output: Array, log_sum_exp: Array, axis_order: AxisOrderName) -> Array:
    """A view of an output whose axes but the last are those of its log-sum-exp."""
    if output.ndim == 4:
        return output.transpose(0, *AXES[axis_order], 3)
    if log_sum_exp.ndim == 1:
        return output
    *rows, features = output.shape
    heads = log_sum_exp.shape[-2]
    return output.reshape(*rows, heads, features // heads).swapaxes(-3, -2)


def _what_is_wrong(pairs: Sequence[PartialResult], axis_order: AxisOrderName) -> Iterator[str]:
    if not pairs:
        yield "parts: has 0 entries, expected at least 1"
        return
    for place, pair in enumerate(pairs):
        for name, array, first in zip(PartialResult._fields, pair, pairs[0], strict=True):
            if array.dtype.name not in FLOATING:
                yield f"parts[{place}].{name}: type is {array.dtype.name}, expected one of {', '.join(FLOATING)}"
            if array.shape != first.shape:
                yield f"parts[{place}].{name}: shape is {array.shape}, the first part has {first.shape}"
    if (wrong := _wrong_shapes(pairs[0], axis_order)) is not None:
        yield wrong


def _wrong_shapes(pair: PartialResult, axis_order: AxisOrderName) -> str | None:
    """What is wrong with the shapes of the first part; the others have the same."""
    output, logs = pair.output.shape, pair.log_sum_exp.shape
    if len(output) not in (2, 3, 4):
        return f"parts[0].output: rank is {len(output)}, expected 2, 3 or 4"
    if len(output) == 2 and len(logs) == 1:
        expected: tuple[Any, ...] = output[:1]
    elif len(output) == 4:
        heads, queries = AXES[axis_order]
        expected = (output[0], output[heads], output[queries])
    else:
        divides = len(logs) > 1 and logs[-2] > 0 and output[-1] % logs[-2] == 0
        expected = (*output[:-2], logs[-2] if divides else f"a divisor of {output[-1]}", output[-2])
    if logs == expected:
        return None
    return f"parts[0].log_sum_exp: shape is {logs}, expected ({', '.join(map(str, expected))})"
