"""What is added to the score of a pair, a second time: masks, ALiBi and relative bias, one pair at a time.

Every rule here is read from the comments of `protos/qkv/v1/attention.proto`; of the core only the question is used.
"""

import math
from fractions import Fraction
from functools import cache

from qkv_server.core import Alibi, MaskPolarity, Problem, RelativeBias, Visibility

from .second_positions import Lengths, Place


def mask_bias(visibility: Visibility, lengths: Lengths, pair: tuple[int, int, int, int]) -> float:
    """What the mask adds to a pair (b, h, i, j): −inf hides. Extra keys have no mask."""
    mask, j = visibility.mask, pair[-1]
    if mask is None or j >= lengths.keys:
        return 0.0
    if j >= mask.shape[-1]:
        return -math.inf
    at = tuple(0 if size == 1 else index for size, index in zip(mask.shape, pair[-mask.ndim :], strict=True))
    if mask.dtype == bool:
        attends = bool(mask[at]) is (visibility.mask_polarity is MaskPolarity.TRUE_ATTENDS)
        return 0.0 if attends else -math.inf
    return float(mask[at])


def distance_bias(problem: Problem, place: Place, heads: int, pair: tuple[int, int, int, int]) -> float:
    """What ALiBi and the relative bias add to a pair (b, h, i, j) of a query that stands at a place and a given key."""
    b, h, _, j = pair
    distance, bias = place.distance(j), 0.0
    if (alibi := problem.scoring.alibi) is not None:
        bias -= _slope(alibi, heads, b, h) * abs(distance)
    if (relative := problem.scoring.relative_bias) is not None:
        bias += float(relative.table[_bucket_of(relative, distance), h])
    return bias


def paper_slopes(heads: int) -> list[float]:
    """The slopes of n heads: 2^(−8/n) … 2^−8, or those of the power of two below and every other one of the next."""
    below = 2 ** int(math.log2(heads))
    slopes = [2.0 ** (-8 * (k + 1) / below) for k in range(below)]
    return slopes + [2.0 ** (-8 * (2 * k + 1) / (2 * below)) for k in range(heads - below)]


@cache
def bucket(distance: int, buckets: int, bidirectional: bool, max_distance: int) -> int:
    """The bucket of key − position, with boundaries compared in fractions."""
    first, each, away = 0, buckets, max(-distance, 0)
    if bidirectional:
        each = buckets // 2
        first, away = (each if distance > 0 else 0), abs(distance)
    single = each // 2
    if away < single:
        return first + away
    wide = each - single
    step = 0
    while step + 1 < wide and Fraction(away, single) ** wide >= Fraction(max_distance, single) ** (step + 1):
        step += 1
    return first + single + step


def _slope(alibi: Alibi, heads: int, b: int, h: int) -> float:
    if alibi.slopes is None:
        return paper_slopes(heads)[h]
    return float(alibi.slopes[h] if alibi.slopes.ndim == 1 else alibi.slopes[b, h])


def _bucket_of(relative: RelativeBias, distance: int) -> int:
    return bucket(distance, len(relative.table), relative.bidirectional, relative.max_distance or 128)
