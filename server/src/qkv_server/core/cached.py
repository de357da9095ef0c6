"""Attention of the newest token of each of many streams to all that its stream remembers.

A step of the ladder beside the blocked path, for what decoding asks: one query a stream, which stands at the last key
and may see it and all before, or the last `window`. Streams differ in length and lie apart, so each has products of its
own, over its own keys and no others: nothing is padded, what lies behind a stream's end is never read, and the answer
of a stream is a function of it alone, to the last bit. What is left out is what costs `solve` ten times as much on so
small problems: checks, plans, threads.
"""

from collections.abc import Iterable

import numpy as np

from qkv_server.core.problem import Array


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
    """
    scaled = query * query.dtype.type(scale)
    for each, (key, value) in enumerate(streams):
        if window is not None:
            key, value = key[:, -window:], value[:, -window:]  # noqa: PLW2901 - the part that is seen
        kv_heads, _, size = key.shape
        weights = scaled[each].reshape(kv_heads, -1, size) @ key.swapaxes(1, 2)  # (Hkv, G, T)
        if softcap:
            weights /= weights.dtype.type(softcap)
            np.tanh(weights, out=weights)
            weights *= weights.dtype.type(softcap)
        if bias is not None:
            weights += bias[:, bias.shape[1] - key.shape[1] :].reshape(weights.shape)
        weights -= np.maximum.reduce(weights, axis=-1, keepdims=True)
        np.exp(weights, out=weights)
        answer = weights @ value  # (Hkv, G, Dv)
        np.divide(
            answer, np.add.reduce(weights, axis=-1, keepdims=True), out=out[each].reshape(answer.shape, copy=False)
        )
