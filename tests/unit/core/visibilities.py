"""Hypothesis strategies of every way of hiding keys, drawn together."""

from typing import Any

import numpy as np
from hypothesis import strategies as st

from qkv_server.core import Alignment, EmptyRow, MaskPolarity, SoftmaxAxis, Visibility
from qkv_server.core.problem import Array

from .arrays import Numbers, Sizes, seldom


def visibilities(draw: st.DrawFn, sizes: Sizes, numbers: Numbers, softmax_axis: SoftmaxAxis) -> Visibility:
    """Every way of hiding, with the alignment set."""
    packed = sizes.batch == 1 and sizes.past is None and draw(seldom())
    return Visibility(
        mask=masks(draw, sizes, numbers) if draw(st.booleans()) else None,
        mask_polarity=draw(st.sampled_from(MaskPolarity)),
        causal=draw(st.booleans()),
        alignment=draw(st.sampled_from(Alignment)),
        window_left=draw(windows()),
        window_right=draw(windows()),
        key_lengths=lengths(draw, sizes.batch, sizes.new_keys) if sizes.past is None and not packed else (),
        query_lengths=() if packed else lengths(draw, sizes.batch, sizes.queries),
        empty_row=draw(st.sampled_from(EmptyRow)) if softmax_axis is SoftmaxAxis.KEYS else EmptyRow.ZERO,
        chunk_size=draw(st.integers(1, 4) | st.just(2**62)) if draw(seldom()) else 0,
        **(_segments(draw, sizes) if packed else {}),
        **(_blocks(draw, sizes, numbers) if draw(seldom()) else {}),
    )


def masks(draw: st.DrawFn, sizes: Sizes, numbers: Numbers) -> Array:
    """A mask of any rank, boolean or floating, that broadcasts to (B, Hq, L, T) or is short of keys."""
    full = (sizes.batch, sizes.heads, sizes.queries)
    rank = draw(st.integers(1, 4))
    axes = [draw(st.sampled_from((size, 1))) for size in full[4 - rank :]]
    short = [width for width in range(sizes.keys + 1) if width != 1 or sizes.keys == 1]
    width = draw(st.just(sizes.keys) | st.sampled_from(short))
    flags = numbers.generator.random((*axes, width)) < draw(st.sampled_from((0.8, 0.4)))
    if draw(st.booleans()):
        return flags
    values = numbers.normal(*axes, width)
    return np.where(flags, values, values.dtype.type(-np.inf)).astype(values.dtype)


def lengths(draw: st.DrawFn, batch: int, limit: int) -> tuple[int, ...]:
    """One length per batch row, or none."""
    if draw(st.booleans()):
        return ()
    return tuple(draw(st.lists(st.integers(0, limit), min_size=batch, max_size=batch)))


def windows() -> st.SearchStrategy[int | None]:
    return st.none() | st.integers(0, 6) | st.just(2**62)


def _segments(draw: st.DrawFn, sizes: Sizes) -> dict[str, Any]:
    """Cumulative lengths of one to four segments, empty ones among them; those of the keys may be left out."""
    count = draw(st.integers(0, 3))

    def cumulative(total: int) -> tuple[int, ...]:
        cuts = draw(st.lists(st.integers(0, total), min_size=count, max_size=count))
        return (0, *sorted(cuts), total)

    of_queries = cumulative(sizes.queries)
    as_the_queries = sizes.queries == sizes.new_keys and draw(st.booleans())
    return {
        "cumulative_query_lengths": of_queries,
        "cumulative_key_lengths": () if as_the_queries else cumulative(sizes.new_keys),
    }


def _blocks(draw: st.DrawFn, sizes: Sizes, numbers: Numbers) -> dict[str, Any]:
    """A block map of rank 2 to 4, and the sizes of its blocks."""
    query_block, key_block = draw(st.integers(1, 3)), draw(st.integers(0, 3))
    rank = draw(st.integers(2, 4))
    axes = [draw(st.sampled_from((size, 1))) for size in (sizes.batch, sizes.heads)[4 - rank :]]
    blocks = (-(-sizes.queries // query_block), -(-sizes.keys // (key_block or query_block)))
    return {
        "block_map": numbers.generator.random((*axes, *blocks)) < draw(st.sampled_from((0.8, 0.4))),
        "query_block_size": query_block,
        "key_block_size": key_block,
    }
