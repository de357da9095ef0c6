"""The running maximum of a softmax that is computed tile by tile.

"Online normalizer calculation for softmax" (Milakov and Gimelshein, 2018), raised lazily: exponentials may be as large
as e^GROWTH, so that most tiles cost no rescaling.
"""

import numpy as np

from qkv_server.core.positions import BoolArray
from qkv_server.core.problem import Array

GROWTH = 8.0  # a maximum is raised only when it grew by more


class RunningMaximum:
    """The largest score of each row (n, R) so far, where a row needs it; 0 for ever where it does not."""

    def __init__(
        self,
        safe: BoolArray | None,
        first: Array,
        headroom: Array | None,
        *,
        begun: bool,
    ) -> None:
        """Rows begin at a first score, −inf for none; `begun` says whether some row has one, and so a total.

        Rows that are `safe`, if any, need no maximum. Maxima are overstated by a headroom, for rows of huge values.
        """
        self._headroom = headroom
        self.maximum = self._with_headroom(first)
        self._limit = self.maximum + GROWTH  # a maximum is raised by scores above it
        if safe is not None:
            self.maximum = np.where(safe, 0, self.maximum)
            self._limit = np.where(safe, np.inf, self._limit)
        self._shift: Array | None = None  # what maxima that were not raised yet subtract
        self._begun = begun

    def shift(self, scores: Array, total: Array, *sums: Array) -> None:
        """Subtract the maximum from scores (n, R, w), raised first where they exceed it by much, the sums with it.

        Sums are the total of each row (n, R), and any number of (n, R, …).
        """
        top = self._with_headroom(scores.max(axis=-1))
        raised = top > self._limit
        count, before = np.count_nonzero(raised), self.maximum
        if count == raised.size:
            self.maximum, self._limit, self._shift = top, top + GROWTH, top  # none of them is −inf
        elif count:
            self.maximum, self._limit = np.where(raised, top, before), np.where(raised, top + GROWTH, self._limit)
            self._shift = finite_shift(self.maximum)
        elif self._shift is None:
            self._shift = finite_shift(self.maximum)
        if count and self._begun:
            ratio = np.exp(before - self.maximum)
            ratio = np.where(raised, ratio, 1).astype(total.dtype, copy=False)
            total *= ratio
            for summed in sums:
                np.multiply(summed, ratio[..., None], out=summed)
        self._begun = True
        scores -= self._shift.astype(scores.dtype, copy=False)[..., None]

    def _with_headroom(self, scores: Array) -> Array:
        return scores if self._headroom is None else scores + self._headroom


def finite_shift(maximum: Array) -> Array:
    """What to subtract from scores of these maxima: 0 for rows that have seen nothing."""
    return np.where(np.isneginf(maximum), 0, maximum)
