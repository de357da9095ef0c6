"""Attention of short sequences that stand one after another in one array, each on its own: nothing is padded.

A step of the ladder beside the blocked path, for what encoders ask: every token of a sequence sees all of it, nothing
is hidden. A head's scores are one product, in the cache, and the exponentials are shifted by the largest score of the
head instead of that of each row, which costs a tenth: softmax is the same under any shift. Only the heads in which the
weights of a row all but vanish under it are computed again, with the maximum of each row.

The answer of a sequence is a function of it alone, to the last bit: it does not depend on the sequences beside it.
"""

from collections.abc import Iterator, Sequence
from itertools import groupby

import numpy as np

from qkv_server.core.attention import attention
from qkv_server.core.problem import Array, Problem, RelativeBias, Scoring
from qkv_server.core.scratch import scratch

LONGEST = 512  # tokens whose scores of one head stay in the cache; longer sequences are for the blocked path
TILE_SCORES = 2**17  # of the heads that are computed at a time, unless one has more
FAINT = 2.0**-96  # a smaller sum of the exponentials of a row has lost bits of weights that matter


def packed_attention(
    query: Array,
    key: Array,
    value: Array,
    lengths: Sequence[int],
    scale: float,
    out: Array,
    relative_bias: RelativeBias | None = None,
) -> None:
    """Attention within each sequence, in `out` (N, H, Dv): softmax(query·keyᵀ·scale + bias)·value.

    Query and key are (N, H, D), value is (N, H, Dv), all float32: N = Σ lengths tokens of sequences that stand one
    after another. Sequences of more than LONGEST tokens, and all if there is a bias, are computed by `attention`.
    """
    for tokens, length in _runs(lengths):
        # (n·L, H, D) → (n, H, L, D), n sequences of one length
        run = [array[tokens].reshape(-1, length, *array.shape[1:]).swapaxes(1, 2) for array in (query, key, value)]
        output = out[tokens].reshape(-1, length, *out.shape[1:], copy=False).swapaxes(1, 2)
        if length <= LONGEST and relative_bias is None:
            _attend(run[0], run[1], run[2], np.float32(scale), output)
        else:
            scoring = Scoring(scale=scale, relative_bias=relative_bias)
            output[...] = attention(Problem(query=run[0], key=run[1], value=run[2], scoring=scoring)).output


def _runs(lengths: Sequence[int]) -> Iterator[tuple[slice, int]]:
    """The tokens of neighbours of the same length, and this length; empty sequences have none."""
    begin = 0
    for length, run in groupby(lengths):
        end = begin + length * sum(1 for _ in run)
        if end > begin:
            yield slice(begin, end), length
        begin = end


@np.errstate(all="ignore")  # NaN and infinity are answers here, not accidents
def _attend(query: Array, key: Array, value: Array, scale: np.float32, out: Array) -> None:
    """Attention of (n, H, L, D), some heads at a time, in `out` (n, H, L, Dv)."""
    sequences, heads, length, _ = query.shape
    heads_each = max(1, min(heads, TILE_SCORES // length**2))
    sequences_each = max(1, TILE_SCORES // (heads_each * length**2)) if heads_each == heads else 1
    for first in range(0, sequences, sequences_each):
        for head in range(0, heads, heads_each):
            tile = (slice(first, first + sequences_each), slice(head, head + heads_each))
            scaled = scratch("scaled query", query[tile].shape, query.dtype)
            np.multiply(query[tile], scale, out=scaled)
            _attend_tile(scaled, key[tile], value[tile], out[tile])


def _attend_tile(query: Array, key: Array, value: Array, out: Array) -> None:
    """Attention of some heads, (n, h, L, D) with the scale in the query, in `out` (n, h, L, Dv)."""
    length = query.shape[2]
    scores = scratch("packed scores", (*query.shape[:2], length, length), query.dtype)
    np.matmul(query, key.swapaxes(-1, -2), out=scores)
    scores -= scores.max(axis=(-1, -2), keepdims=True)
    np.exp(scores, out=scores)
    totals = np.matmul(scores, np.ones((length, 1), scores.dtype))  # (n, h, L, 1); sums as a product are the fastest
    if totals.min() < FAINT:
        for head in zip(*np.nonzero((totals < FAINT).any(axis=(-1, -2))), strict=True):
            _weigh_by_row(query[head], key[head], scores[head], totals[head])
    np.matmul(scores, value, out=out)
    out /= totals


def _weigh_by_row(query: Array, key: Array, weights: Array, totals: Array) -> None:
    """The weights (L, L) of one head and their totals (L, 1), each row shifted by its own maximum."""
    np.matmul(query, key.T, out=weights)
    weights -= weights.max(axis=-1, keepdims=True)
    np.exp(weights, out=weights)
    np.add.reduce(weights, axis=-1, keepdims=True, out=totals)
