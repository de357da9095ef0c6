"""The running maximum of a softmax that is computed tile by tile.

"Online normalizer calculation for softmax" (Milakov and Gimelshein, 2018), raised lazily: exponentials may be as large
as base^GROWTH, so that most tiles cost no rescaling.
"""

import numpy as np

from qkv_server.core.exponential import Exponential
from qkv_server.core.positions import BoolArray
from qkv_server.core.problem import Array

GROWTH = 8.0  # units of the base: a maximum is raised only when it grew by more


class RunningMaximum:
    """The largest score of each row (n, R) so far, where a row needs it; 0 for ever where it does not."""

    def __init__(self, safe: BoolArray, first: Array, headroom: Array | float, exponential: Exponential) -> None:
        """Rows begin at a first score, −inf for none; maxima are overstated by a headroom, for rows of huge values."""
        self.maximum = np.where(safe, 0, first + headroom)
        self._needed = ~safe
        self._headroom = headroom
        self._exponential = exponential

    def shift(self, scores: Array, total: Array, *sums: Array) -> None:
        """Subtract the maximum from scores (n, R, w), raised first where they exceed it by much, the sums with it.

        Sums are the total of each row (n, R), and any number of (n, R, …).
        """
        top = scores.max(axis=-1) + self._headroom
        raised = self._needed & ((top > self.maximum + GROWTH) | (np.isneginf(self.maximum) & (top > -np.inf)))
        if raised.any():
            higher = np.where(raised, top, self.maximum)
            ratio = np.where(raised, self._exponential.function(self.maximum - higher), 1).astype(scores.dtype)
            total *= ratio
            for summed in sums:
                np.multiply(summed, ratio[..., None], out=summed)
            self.maximum = higher
        scores -= finite_shift(self.maximum).astype(scores.dtype)[..., None]


def finite_shift(maximum: Array) -> Array:
    """What to subtract from scores of these maxima: 0 for rows that have seen nothing."""
    return np.where(np.isneginf(maximum), 0, maximum)
