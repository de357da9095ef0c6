"""Scores of queries and keys: products in the compute type, of float64 to nearly twice its precision.

exp turns an absolute error of a score into a relative one of a weight: a score of 10,000 that is right to the last bit
of float64 makes a weight that is right to only twelve digits. So operands of float64 are cut in two, in such a way that
the products of the leading parts are exact whatever the order of their sums, and a score is a high and a low part whose
sum is right to about 75 bits of max |q|·max |k| ("Error-free transformations of matrix multiplication", Ozaki et al.,
2012).
"""

import math
from functools import lru_cache
from typing import NamedTuple, TypeVar

import numpy as np

from qkv_server.core import pieces
from qkv_server.core.pieces import Cut
from qkv_server.core.precision import FLOAT64
from qkv_server.core.problem import Array

Number = TypeVar("Number", Array, float)

DEKKER = 2.0**27 + 1  # cuts the 53 bits of a float64 in two ("A floating-point technique …", Dekker, 1971)
ORDINARY = 250  # exponents of rows whose products, and the rests of these, neither overflow nor underflow
KEPT_BITS = 106  # of a score; below these it is rounded, so that a bias of −1e308 drowns the score that it is added to


class Factors(NamedTuple):
    """Query rows (…, L, D) times the scale: all in `high`, but of float64 the leading bits, and the rest in `low`."""

    high: Array
    low: Array | None
    powers: Array | None  # of two, (…, L, 1), that products are still to be multiplied with; None: no row has any


class Scores(NamedTuple):
    """Scores (…, L, T), each the sum of its parts."""

    high: Array
    low: Array | None  # 0 where `high` is not finite; None in float32

    def rounded(self) -> Array:
        """The scores in the compute type."""
        return self.high if self.low is None else self.high + self.low


def factors(query: Array, scale: float | None, out: Array | None = None) -> Factors:
    """The query rows (…, L, D) times the scale, in C order whatever theirs is; None is 1/√D.

    A BLAS has other kernels for other orders, and the bits of products would depend on how rows came to lie.
    """
    factor, rest = (scale, 0.0) if scale is not None else _inverse_root(query.shape[-1])
    if query.dtype != FLOAT64:
        return Factors(np.multiply(query, query.dtype.type(factor), out=out, order="C"), None, None)
    mantissa, exponent = math.frexp(factor)
    rows, powers, _ = _brought_near(np.ascontiguousarray(query), exponent)
    product = rows * mantissa
    error = _error_of(product, rows, mantissa) + rows * math.ldexp(rest, -exponent)
    high = _leading_bits(product, _exponents(product))
    return Factors(high, _finite((product - high) + error), powers)


def scores(query: Factors, key: Array, cut: Cut | None = None, out: Array | None = None) -> Scores:
    """The products of scaled query rows (…, L, D) with keys (…, T, D): as a whole, or in pieces.

    Of products (n, L, W) in the pieces of a cut none depends on how many keys there are; beyond T they are 0. `out` is
    for the high part.
    """
    high, low, powers = query
    if low is None:
        return Scores(_product(high, key, cut, out), None)
    key, key_powers, exponents = _brought_near(key)
    key_high = _leading_bits(key, exponents)
    key_low = _finite(key - key_high)
    product = _product(high, key_high, cut, out)
    rest = _product(high, key_low, cut)
    rest += _product(low, key, cut)
    if powers is not None or key_powers is not None:
        both = (0 if powers is None else powers) + (0 if key_powers is None else key_powers.swapaxes(-1, -2))
        for part in (product[..., : key.shape[-2]], rest[..., : key.shape[-2]]):
            np.ldexp(part, both, out=part)
    return _normalised(product, product, rest)


def add(scores: Scores, bias: Array) -> Scores:
    """The scores plus a bias that broadcasts to them, in place."""
    high, low = scores
    if low is None:
        np.add(high, bias, out=high)
        return scores
    total, error = _exact_sum(high, bias)
    low += error
    return _normalised(high, total, low)


def _product(rows: Array, key: Array, cut: Cut | None, out: Array | None = None) -> Array:
    if cut is None:
        product: Array = np.matmul(rows, key.swapaxes(-1, -2), out=out)
        return product
    width = cut[-1].stop if cut else 0
    return pieces.scores(rows, key, cut, np.empty((*rows.shape[:-1], width), rows.dtype) if out is None else out)


@lru_cache(maxsize=64)
def _inverse_root(size: int) -> tuple[float, float]:
    """The two float64 whose sum is 1/√size to more than 100 bits."""
    one = 1 << 128
    exact = math.isqrt(one * one // size)
    nearest = exact / one
    return nearest, (exact - int(nearest * one)) / one


def _brought_near(x: Array, factor: int = 0) -> tuple[Array, Array | None, Array]:
    """Rows (…, D) and powers of two (…, 1), whose product is x·2^factor, such that no row is too large or too small.

    Powers are 0 for rows that are ordinary anyway, and None if all are. The last is the exponents of the rows (…, 1).
    """
    exponents = _exponents(x)
    smallest, largest = int(exponents.min(initial=0)), int(exponents.max(initial=0))
    if min(smallest, smallest + factor) >= -ORDINARY and max(largest, largest + factor) <= ORDINARY:
        return (np.ldexp(x, factor) if factor else x), None, exponents + factor
    far = np.maximum(np.abs(exponents), np.abs(exponents + factor)) > ORDINARY
    shift = np.where(far, -exponents, factor)
    return np.ldexp(x, shift), np.where(far, exponents + factor, 0), exponents + shift


def _exponents(x: Array) -> Array:
    """The power of two above the largest |element| of each row (…, D): (…, 1)."""
    exponents: Array = np.frexp(np.abs(x).max(axis=-1, keepdims=True, initial=0))[1]
    return exponents


def _finite(x: Array) -> Array:
    """The array with 0 for what is not finite, in place."""
    np.copyto(x, 0, where=~np.isfinite(x))
    return x


def _exact_sum(x: Array, y: Array) -> tuple[Array, Array]:
    """The rounded sum and what rounding took from it ("The Art of Computer Programming", vol. 2, 4.2.2, Knuth)."""
    total = x + y
    part = total - x
    return total, (x - (total - part)) + (y - part)


def _normalised(out: Array, high: Array, low: Array) -> Scores:
    """The scores high + low as the nearest number, in `out`, and what is left, of which so many bits are kept."""
    out[...], low[...] = _exact_sum(high, _finite(low))
    np.copyto(low, 0, where=~(np.abs(low) >= np.abs(out) * 2.0**-KEPT_BITS))  # also where it is NaN
    return Scores(out, low)


def _error_of(product: Array, x: Array, y: float) -> Array:
    """What rounding took from product = x·y: x·y − product (Dekker's product)."""

    def cut(value: Number) -> tuple[Number, Number]:
        lifted = value * DEKKER
        high = lifted - (lifted - value)
        return high, value - high

    (x_high, x_low), (y_high, y_low) = cut(x), cut(y)
    error: Array = x_low * y_low - (((product - x_high * y_high) - x_low * y_high) - x_high * y_low)
    return error


def _leading_bits(x: Array, exponents: Array) -> Array:
    """Rows (…, D) of these exponents rounded to so few bits below them that products of two such rows are exact."""
    size = x.shape[-1]
    bits = (53 - (size - 1).bit_length()) // 2
    rounder = np.ldexp(1.5, exponents + (52 - bits))
    leading: Array = (x + rounder) - rounder
    return leading
