"""Hypothesis strategies of every way of scoring a pair and of making weights of scores, drawn together."""

from collections.abc import Sequence

from hypothesis import strategies as st

from qkv_server.core import Alibi, LogBase, RelativeBias, Scoring, SoftmaxAxis

from .arrays import DType, Numbers, Sizes, seldom


def scorings(
    draw: st.DrawFn,
    sizes: Sizes,
    numbers: Numbers,
    softmax_axis: SoftmaxAxis,
    softmax_precisions: Sequence[DType | None],
) -> Scoring:
    """Every way of scoring; sinks only where the softmax is over keys."""
    return Scoring(
        scale=draw(scales()),
        softcap=draw(softcaps()),
        softmax_axis=softmax_axis,
        softmax_precision=draw(st.sampled_from(softmax_precisions)),
        log_base=draw(st.sampled_from(LogBase)),
        sinks=numbers.normal(sizes.heads) if softmax_axis is SoftmaxAxis.KEYS and draw(seldom()) else None,
        alibi=_alibis(draw, sizes, numbers) if draw(seldom()) else None,
        relative_bias=_relative_biases(draw, sizes, numbers) if draw(seldom()) else None,
    )


def scales() -> st.SearchStrategy[float | None]:
    return st.none() | st.floats(-2, 2, width=32)


def softcaps() -> st.SearchStrategy[float]:
    return st.just(0.0) | st.floats(0.5, 5, width=32)


def _alibis(draw: st.DrawFn, sizes: Sizes, numbers: Numbers) -> Alibi:
    """The paper's slopes, or some for every head, or for every batch row and head."""
    shape = draw(st.sampled_from((None, (sizes.heads,), (sizes.batch, sizes.heads))))
    return Alibi(slopes=None if shape is None else numbers.normal(*shape))


def _relative_biases(draw: st.DrawFn, sizes: Sizes, numbers: Numbers) -> RelativeBias:
    """A table of at least two buckets a direction, whose distances end within or far beyond the keys."""
    bidirectional = draw(st.booleans())
    each = draw(st.integers(2, 6))
    return RelativeBias(
        table=numbers.normal(each * (1 + bidirectional), sizes.heads),
        bidirectional=bidirectional,
        max_distance=draw(st.just(0) | st.integers(each // 2 + 1, 12)),
    )
