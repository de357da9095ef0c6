"""Matrix products along the keys of a tile, in pieces of fixed sizes.

How a BLAS computes an element of a product depends on the size of the matrices: the kernels for the last rows and
columns are others, and long sums are split. So keys are cut where no number of them moves a cut, the last piece is
filled with zeros, and pieces are summed in order: key j always has the same place in a product of the same size,
whatever keys follow it.
"""

from collections.abc import Iterator
from functools import cache, lru_cache
from itertools import pairwise
from typing import Any, TypeVar

import numpy as np

from qkv_server.core.positions import IntArray
from qkv_server.core.precision import DType
from qkv_server.core.problem import Array
from qkv_server.core.scratch import scratch

Count = TypeVar("Count", int, IntArray)
Cut = tuple[slice, ...]

PIECES = (64, 128, 256)  # keys of a piece, so that small problems stay small: up to 128, up to 512, and from there


def padded(keys: Count) -> Count:
    """How many keys are computed where there are so many, from the first on: up to where the last piece ends."""
    small, middle, large = PIECES
    step: Any = small + (middle - small) * (keys > 2 * small) + (large - middle) * (keys > 4 * middle)
    end: Count = -(-keys // step) * step
    return end


@lru_cache(maxsize=1024)
def cut(begin: int, end: int) -> Cut:
    """The pieces of a tile of the keys from `begin` to `end`, counted from its own first; the last may end after it."""
    bounds = [begin]
    while bounds[-1] < end:
        bounds.append(padded(bounds[-1] + 1))
    return tuple(slice(start - begin, stop - begin) for start, stop in pairwise(bounds))


def scores(rows: Array, keys: Array, pieces: Cut, out: Array) -> Array:
    """The products of rows (n, R, D) with keys (n, w, D) in `out` (n, R, W), W their pieces; 0 beyond w."""
    for place, piece in _filled(keys, pieces):
        np.matmul(rows, piece.swapaxes(-1, -2), out=out[..., place])
    return out


def add_totals(totals: Array, weights: Array, pieces: Cut) -> None:
    """Add to totals (n, R) the sums of weights (n, R, W)."""
    for place in pieces:
        totals += np.matmul(weights[..., place], _ones(place.stop - place.start, weights.dtype))


def add_sums(sums: Array, weights: Array, values: Array, pieces: Cut) -> None:
    """Add to sums (n, R, D) those of values (n, w, D) by weights (n, R, W), 0 beyond w."""
    part = scratch("sum of a piece", sums.shape, sums.dtype)
    for place, piece in _filled(values, pieces):
        sums += np.matmul(weights[..., place], piece, out=part)


def over_rows(weights: Array, rows: Array, pieces: Cut) -> Array:
    """The sums of rows (n, R, D) by weights (n, R, W), for each key (n, W, D), which last until the next."""
    n, _, width = weights.shape
    sums = scratch("sum over rows", (n, width, rows.shape[-1]), rows.dtype)
    for place in pieces:
        np.matmul(weights[..., place].swapaxes(-1, -2), rows, out=sums[:, place])
    return sums


def _filled(keys: Array, pieces: Cut) -> Iterator[tuple[slice, Array]]:
    """The pieces of keys or values (n, w, D), the last with zeros after it, and where they stand."""
    n, width, size = keys.shape
    for place in pieces:
        if place.stop <= width:
            yield place, keys[:, place]
        else:
            filled = scratch("piece", (n, place.stop - place.start, size), keys.dtype)
            filled[:, : width - place.start] = keys[:, place]
            filled[:, width - place.start :] = 0
            yield place, filled


@cache
def _ones(size: int, dtype: DType) -> Array:
    ones = np.ones(size, dtype)
    ones.flags.writeable = False
    return ones
