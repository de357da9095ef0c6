"""Hypothesis strategy of valid attention problems: every option of the contract, drawn together, at small sizes."""

from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

from qkv_server.core import AxisOrder, MultiHead, Problem, Quantity, SoftmaxAxis
from qkv_server.core.problem import Array

from .arrays import FLOAT64, DType, Numbers, Sizes, seldom
from .rotaries import rotaries
from .scorings import scorings
from .visibilities import visibilities


@st.composite
def problems(
    draw: st.DrawFn,
    *,
    dtypes: Sequence[DType] = (FLOAT64,),
    softmax_precisions: Sequence[DType | None] = (None,),
    shortest: int = 0,
) -> Problem:
    """Valid problems that ask for every quantity, with their alignment always set.

    Every operand draws its own type from `dtypes`; batch, queries, keys and cache are at least `shortest` long.
    """
    numbers = Numbers(draw, dtypes)
    rank = draw(st.sampled_from((2, 3, 4)))
    key_given, value_given = draw(st.booleans()), draw(st.booleans())
    split = rank == 4 or draw(st.booleans())
    kv_heads = draw(st.integers(1, 3)) if split else 1
    groups = draw(st.integers(1, 3)) if split and (rank < 4 or key_given) else 1
    queries = draw(st.integers(shortest, 5))
    sizes = Sizes(
        batch=1 if rank == 2 else draw(st.integers(shortest, 3)),
        heads=kv_heads * groups,
        kv_heads=kv_heads,
        queries=queries,
        past=draw(st.none() | st.integers(shortest, 4)),
        new_keys=draw(st.integers(shortest, 5)) if key_given else queries,
    )
    counts: dict[str, Any] = {
        "heads": sizes.heads if rank < 4 and split else draw(st.sampled_from((0, sizes.heads))) if split else 0,
        "kv_heads": draw(st.sampled_from((0, kv_heads) if groups == 1 or rank == 4 else (kv_heads,))) if split else 0,
    }
    order = draw(st.sampled_from(AxisOrder))
    turned = draw(seldom())
    head_size = draw(st.integers(2, 6) if turned else st.integers(1, 4))
    projections: dict[str, Any] = {}
    if rank == 4:
        value_size = draw(st.integers(1, 4)) if value_given else head_size
        query, key, value = _per_head_operands(sizes, (head_size, value_size), order, numbers)
    else:
        projections, value_size, (query, key, value) = _joined_operands(
            draw, sizes, head_size, numbers, rank=rank, given=(key_given, value_given)
        )
    cache: dict[str, Any] = {}
    if sizes.past is not None:
        leading = (sizes.batch, kv_heads) if rank > 2 else (kv_heads,) if split else ()
        cache = {
            "past_key": numbers.normal(*leading, sizes.past, head_size),
            "past_value": numbers.normal(*leading, sizes.past, value_size),
        }
    softmax_axis = draw(st.sampled_from(SoftmaxAxis))
    return Problem(
        query=query,
        key=key if key_given else None,
        value=value if value_given else None,
        multi_head=MultiHead(
            **counts,
            axis_order=order,
            **projections,
            **_extras(draw, kv_heads, (head_size, value_size), numbers),
            add_zero_attention=draw(st.booleans()),
        ),
        visibility=visibilities(draw, sizes, numbers, softmax_axis),
        scoring=scorings(draw, sizes, numbers, softmax_axis, softmax_precisions),
        rotary=rotaries(draw, sizes, head_size, numbers) if turned else None,
        **cache,
        outputs=frozenset(Quantity),
    )


def _per_head_operands(
    sizes: Sizes, head_sizes: tuple[int, int], order: AxisOrder, numbers: Numbers
) -> tuple[Array, Array, Array]:
    """Query, key and value of rank 4."""

    def operand(heads: int, length: int, size: int) -> Array:
        axes = (heads, length) if order is AxisOrder.HEADS_FIRST else (length, heads)
        return numbers.normal(sizes.batch, *axes, size)

    return (
        operand(sizes.heads, sizes.queries, head_sizes[0]),
        operand(sizes.kv_heads, sizes.new_keys, head_sizes[0]),
        operand(sizes.kv_heads, sizes.new_keys, head_sizes[1]),
    )


def _joined_operands(
    draw: st.DrawFn, sizes: Sizes, head_size: int, numbers: Numbers, *, rank: int, given: tuple[bool, bool]
) -> tuple[dict[str, Array], int, tuple[Array, Array, Array]]:
    """Projections, Dv, and query, key and value of rank 2 or 3, whose last axis joins the heads."""
    key_given, value_given = given
    made: dict[str, Array] = {}

    def projected(name: str, out: int, features: int | None) -> int:
        """Draw the projection to `out` of an operand with these features (None: any), and return its features."""
        if features is None:
            features = draw(st.integers(1, 5)) if draw(st.booleans()) else out
        if features != out or draw(st.booleans()):
            made[f"{name}_weight"] = numbers.weight(out, features)
        if draw(st.booleans()):
            made[f"{name}_bias"] = numbers.normal(out)
        return features

    kv_features = sizes.kv_heads * head_size
    query_features = projected("query", sizes.heads * head_size, None)
    key_features = projected("key", kv_features, None if key_given else query_features)
    if value_given or key_features % sizes.kv_heads or draw(st.booleans()):
        value_size = draw(st.integers(1, 4))
    else:
        value_size = key_features // sizes.kv_heads
    value_features = projected("value", sizes.kv_heads * value_size, None if value_given else key_features)
    projected_to = draw(st.integers(1, 5)) if draw(st.booleans()) else None
    if projected_to is not None:
        made["output_weight"] = numbers.weight(projected_to, sizes.heads * value_size)
    if draw(st.booleans()):
        made["output_bias"] = numbers.normal(projected_to or sizes.heads * value_size)
    leading = (sizes.batch,) if rank == 3 else ()
    operands = (
        numbers.normal(*leading, sizes.queries, query_features),
        numbers.normal(*leading, sizes.new_keys, key_features),
        numbers.normal(*leading, sizes.new_keys, value_features),
    )
    return made, value_size, operands


def _extras(draw: st.DrawFn, kv_heads: int, head_sizes: tuple[int, int], numbers: Numbers) -> dict[str, Any]:
    """The learned key and value, flat or as torch holds them, or none."""
    if draw(st.booleans()):
        return {}
    leading: tuple[int, ...] = draw(st.sampled_from(((), (1, 1))))
    return {
        name: numbers.normal(*leading, kv_heads * size)
        for name, size in zip(("extra_key", "extra_value"), head_sizes, strict=True)
    }
