"""Attention in 50 decimal digits, from the formulas: what float64 answers are measured against.

Products of float64 numbers are exact here, exponents have no limits, and 1/√D is not rounded to float64.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import mpmath  # type: ignore[import-untyped]  # it carries no types
import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Number = Any  # mpmath's

ARITHMETIC = mpmath.mp.clone()
ARITHMETIC.dps = 50


@dataclass(frozen=True)
class Row:
    """What one query of one head is answered with."""

    output: list[Number]  # (Dv)
    weights: list[Number]  # (T), 0 where hidden
    log_sum_exp: Number


def attend(
    query: Array,
    key: Array,
    value: Array,
    *,
    scale: float | None = None,
    softcap: float = 0.0,
    mask: Array | None = None,
    causal: bool = False,
    sinks: Array | None = None,
) -> dict[tuple[int, int], Row]:
    """Answers by (head, query) for query (1, H, L, D), key (1, H, T, D) and value (1, H, T, Dv).

    The mask is floating and broadcasts to (H, L, T); causal is bottom-right aligned; sinks are (H,). Every query sees
    some key.
    """
    _, heads, queries, head_size = query.shape
    keys = key.shape[2]
    factor = 1 / ARITHMETIC.sqrt(head_size) if scale is None else ARITHMETIC.mpf(scale)
    bias = np.broadcast_to(0.0 if mask is None else mask, (heads, queries, keys))
    rows = {}
    for head in range(heads):
        key_rows = [_exactly(row) for row in key[0, head]]
        value_columns = [_exactly(column) for column in value[0, head].T]
        sink = None if sinks is None else ARITHMETIC.mpf(float(sinks[head]))
        for index, asked in enumerate(query[0, head]):
            vector = _exactly(asked)
            last = index + keys - queries if causal else keys - 1
            masked = {
                place: _capped(factor * ARITHMETIC.fdot(vector, row), softcap) + ARITHMETIC.mpf(float(added))
                for place, (row, added) in enumerate(zip(key_rows, bias[head, index], strict=True))
                if place <= last and added != -np.inf
            }
            rows[head, index] = _row(masked, sink, value_columns)
    return rows


def _row(masked: dict[int, Number], sink: Number | None, value_columns: list[list[Number]]) -> Row:
    """The softmax of the masked scores, by the place of their key, and of the sink; and what it weighs."""
    largest = max(masked.values())
    exponentials = [ARITHMETIC.zero] * len(value_columns[0])
    for place, score in masked.items():
        exponentials[place] = ARITHMETIC.exp(score - largest)
    total = ARITHMETIC.fsum(exponentials)
    if sink is not None:
        total += ARITHMETIC.exp(sink - largest)
    weights = [exponential / total for exponential in exponentials]
    output = [ARITHMETIC.fdot(weights, column) for column in value_columns]
    return Row(output, weights, largest + ARITHMETIC.log(total))


def _capped(score: Number, softcap: float) -> Number:
    return softcap * ARITHMETIC.tanh(score / softcap) if softcap else score


def _exactly(numbers: Iterable[float]) -> list[Number]:
    return [ARITHMETIC.mpf(float(number)) for number in numbers]
