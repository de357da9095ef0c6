"""Attention of the newest tokens of streams to all that their streams remember: one of each of many, or many of one.

A step of the ladder beside the blocked path, for what decoders ask: a query stands at its own key and may see it and
all before, or the last `window`. Streams differ in length and lie apart, so each has products of its own, over its own
keys and no others: nothing is padded, what lies behind a stream's end is never read, and the answer of a stream is a
function of it alone, to the last bit. What is left out is what costs `solve` ten times as much on so small problems,
and three times as much on a chunk of a prompt: checks, plans, bounds of scores, sums in pieces. So values that are not
finite may spoil the answers of queries of the same tile of a chunk that stand before them.
"""

from collections.abc import Iterable
from functools import lru_cache, partial
from itertools import accumulate

import numpy as np

from qkv_server.core.problem import Array
from qkv_server.core.scratch import scratch
from qkv_server.core.threads import Spread, one_after_another

TILE_SCORES = 2**17  # of a tile of a chunk: half a megabyte, of the level 2 cache
FEWEST_QUERIES, MOST_QUERIES = 16, 64  # of a tile: more waste time on what they do not see, fewer on their products


@np.errstate(all="ignore")  # NaN and infinity are answers here, not accidents
def cached_attention(
    query: Array,
    streams: Iterable[tuple[Array, Array]],
    scale: float,
    out: Array,
    *,
    window: int | None = None,
    softcap: float = 0.0,
    bias: Array | None = None,
) -> None:
    """softmax(softcapped(scale·q·kᵀ) + bias)·v of each of n streams, in `out` (n, Hq, Dv).

    Out is C-contiguous. Query is (n, Hq, D); of each stream there are its keys (Hkv, T, D) and values (Hkv, T, Dv),
    T ≥ 1 of its own, all float32. Consecutive query heads share a key and value head. The bias is (Hq, at least the
    longest T), the last column for the newest key (`relative_bias.bias_of_newest`).

    Only products are of one stream each. Passes are over the scores of all, which lie one after another.
    """
    seen = [(key[:, -window:], value[:, -window:]) if window else (key, value) for key, value in streams]
    count, heads, size = query.shape
    kv_heads = len(seen[0][0])
    lengths = [key.shape[1] for key, _ in seen]
    scaled = (query * query.dtype.type(scale)).reshape(count, kv_heads, -1, size)
    weights = scratch("scores of streams", (heads * sum(lengths),), query.dtype)  # of one stream after another
    of_streams = [
        weights[heads * (end - length) : heads * end].reshape(kv_heads, -1, length)  # (Hkv, G, T)
        for end, length in zip(accumulate(lengths), lengths, strict=True)
    ]
    for rows, (key, _), scores in zip(scaled, seen, of_streams, strict=True):
        np.matmul(rows, key.swapaxes(1, 2), out=scores)
    if softcap:
        weights /= weights.dtype.type(softcap)
        np.tanh(weights, out=weights)
        weights *= weights.dtype.type(softcap)
    if bias is not None:
        for scores in of_streams:
            np.add(scores, bias[:, bias.shape[1] - scores.shape[2] :].reshape(scores.shape), out=scores)
    begins, widths = _rows(tuple(lengths), heads)
    weights -= np.repeat(np.maximum.reduceat(weights, begins), widths)
    np.exp(weights, out=weights)
    totals = np.add.reduceat(weights, begins)
    answers = out.reshape(count, kv_heads, -1, out.shape[2], copy=False)
    for (_, value), of_stream, answer in zip(seen, of_streams, answers, strict=True):
        np.matmul(of_stream, value, out=answer)
    out /= totals.reshape(count, heads, 1)


@lru_cache(maxsize=4)  # the layers of a step ask for the same, but for those with a window
def _rows(lengths: tuple[int, ...], heads: int) -> tuple[Array, Array]:
    """Where the scores of each head of each stream begin, one row after another, and how many they are: (n·Hq,)."""
    widths = np.repeat(lengths, heads)
    begins = np.cumsum(widths) - widths
    for shared in (begins, widths):
        shared.setflags(write=False)
    return begins, widths


def chunk_attention(
    query: Array,
    key: Array,
    value: Array,
    scale: float,
    out: Array,
    *,
    window: int | None = None,
    softcap: float = 0.0,
    spread: Spread = one_after_another,
) -> None:
    """softmax(softcapped(scale·q·kᵀ))·v of the newest N tokens of one stream, in `out` (N, Hq, Dv).

    Query is (N, Hq, D); keys (Hkv, T, D) and values (Hkv, T, Dv), of which the last N are those of the same tokens, all
    float32. Consecutive query heads share a key and value head. `spread` runs tasks: it changes no bit of the answer.
    """
    count, heads, _ = query.shape
    kv_heads, total, _ = key.shape
    groups = heads // kv_heads
    step = min(max(TILE_SCORES // (groups * total), FEWEST_QUERIES), MOST_QUERIES)
    tasks = []
    for first in reversed(range(0, count, step)):  # the last see the most keys
        queries = slice(first, min(first + step, count))
        begin, end = total - count + first, total - count + queries.stop  # of the keys of the tile's own tokens
        seen = slice(0 if window is None else max(0, begin + 1 - window), end)
        for kv_head in range(kv_heads):
            tile = queries, slice(kv_head * groups, (kv_head + 1) * groups)
            of_head = kv_head, seen
            tasks.append(
                partial(_attend_tile, query[tile], key[of_head], value[of_head], scale, out[tile], window, softcap)
            )
    spread(tasks)


@np.errstate(all="ignore")
def _attend_tile(
    query: Array, key: Array, value: Array, scale: float, out: Array, window: int | None, softcap: float
) -> None:
    """The answers (r, G, Dv) of queries (r, G, D) that share a head; the last r of the keys (T, D) are their own."""
    count, groups, size = query.shape
    scaled = np.multiply(query, query.dtype.type(scale), order="C").reshape(-1, size)
    weights = np.matmul(scaled, key.T, out=scratch("scores of a chunk", (count * groups, len(key)), query.dtype))
    if softcap:
        weights /= weights.dtype.type(softcap)
        np.tanh(weights, out=weights)
        weights *= weights.dtype.type(softcap)
    per_query = weights.reshape(count, groups, -1)
    later = ~np.tri(count, dtype=bool)
    np.copyto(per_query[:, :, len(key) - count :], -np.inf, where=later[:, None])
    if window is not None:
        gone = np.tri(count, len(key), len(key) - count - window, dtype=bool)
        np.copyto(per_query, -np.inf, where=gone[:, None])
    weights -= np.maximum.reduce(weights, axis=-1, keepdims=True)
    np.exp(weights, out=weights)
    answer = weights @ value
    answer /= np.add.reduce(weights, axis=-1, keepdims=True)
    out[...] = answer.reshape(out.shape)
