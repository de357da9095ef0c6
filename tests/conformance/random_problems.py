"""Problems drawn at random: every option that changes the arithmetic, together, at lengths up to two hundred."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from qkv_server.core import (
    Alibi,
    Alignment,
    EmptyRow,
    MaskPolarity,
    Path,
    Problem,
    RelativeBias,
    Rotary,
    RotaryPairing,
    Scoring,
    Visibility,
)

Array = npt.NDArray[Any]

LONGEST = 200
FEWEST_ROWS = 24  # B·Hq·L: the largest error among fewer is luck


class Draw:
    """Choices of a seeded generator."""

    def __init__(self, seed: int) -> None:
        self._generator = np.random.default_rng(seed)

    def chance(self, probability: float) -> bool:
        return bool(self._generator.random() < probability)

    def number(self, low: int, high: int) -> int:
        """From low to high, both included."""
        return int(self._generator.integers(low, high, endpoint=True))

    def one_of(self, choices: Any) -> Any:
        return list(choices)[self.number(0, len(choices) - 1)]

    def magnitude(self, low: float, high: float) -> float:
        """From low to high, every order of magnitude as likely."""
        return float(np.exp(self._generator.uniform(np.log(low), np.log(high))))

    def length(self) -> int:
        return int(self.magnitude(1, LONGEST + 1))

    def normal(self, *shape: int) -> Array:
        return self._generator.standard_normal(shape)

    def flags(self, probability: float, *shape: int) -> Array:
        return self._generator.random(shape) < probability

    def increasing(self, count: int, last: int) -> tuple[int, ...]:
        """From 0, never falling, to the last, in that many steps."""
        return (0, *sorted(self.number(0, last) for _ in range(count - 1)), last)


def problem(seed: int) -> Problem:
    """A valid problem in float64: rank 4, heads first, softmax over keys, alignment set."""
    draw = Draw(seed)
    packed = draw.chance(0.2)
    kv_heads, groups, queries = draw.number(1, 2), draw.number(1, 3), draw.length()
    heads = kv_heads * groups
    if packed:
        batch, queries = 1, max(queries, FEWEST_ROWS)
    else:
        batch = max(draw.number(1, 2), math.ceil(FEWEST_ROWS / (heads * queries)))
    new_keys = queries if draw.chance(0.3) else draw.length()
    past = 0 if packed or draw.chance(0.7) else draw.length()
    head_size = draw.number(1, 64)
    value_size = head_size if draw.chance(0.5) else draw.number(1, 64)
    shape = (batch, heads, queries, past + new_keys)
    scoring = _scoring(draw, batch, heads)
    return Problem(
        query=draw.normal(batch, heads, queries, head_size) * draw.magnitude(0.3, 4),
        key=draw.normal(batch, kv_heads, new_keys, head_size),
        value=draw.normal(batch, kv_heads, new_keys, value_size),
        past_key=draw.normal(batch, kv_heads, past, head_size) if past else None,
        past_value=draw.normal(batch, kv_heads, past, value_size) if past else None,
        visibility=_visibility(draw, shape, new_keys, packed=packed, sinks=scoring.sinks is not None),
        scoring=scoring,
        rotary=_rotary(draw, head_size) if draw.chance(0.2) else None,
        path=draw.one_of((None, *Path)),
    )


def of_type(problem: Problem, dtype: npt.DTypeLike) -> Problem:
    """The problem with every floating array rounded to the type."""

    def rounded(array: Array | None) -> Array | None:
        return array if array is None or array.dtype == np.bool_ else array.astype(dtype)

    scoring = problem.scoring
    alibi, relative = scoring.alibi, scoring.relative_bias
    return replace(
        problem,
        query=problem.query.astype(dtype),
        key=rounded(problem.key),
        value=rounded(problem.value),
        past_key=rounded(problem.past_key),
        past_value=rounded(problem.past_value),
        visibility=replace(problem.visibility, mask=rounded(problem.visibility.mask)),
        scoring=replace(
            scoring,
            sinks=rounded(scoring.sinks),
            alibi=alibi and Alibi(slopes=rounded(alibi.slopes)),
            relative_bias=relative and replace(relative, table=relative.table.astype(dtype)),
        ),
    )


def _visibility(
    draw: Draw, shape: tuple[int, int, int, int], new_keys: int, *, packed: bool, sinks: bool
) -> Visibility:
    """For scores of a shape (B, Hq, L, T). The contract names one answer to empty rows beside sinks."""
    batch, _, queries, keys = shape
    options: dict[str, Any] = {
        "causal": draw.chance(0.4),
        "alignment": draw.one_of(Alignment),
        "empty_row": EmptyRow.ZERO if sinks else draw.one_of(EmptyRow),
    }
    for side in ("window_left", "window_right"):
        if draw.chance(0.2):
            options[side] = draw.length()
    if draw.chance(0.15):
        options["chunk_size"] = draw.length()
    if draw.chance(0.4):
        options |= {"mask": _mask(draw, shape), "mask_polarity": draw.one_of(MaskPolarity)}
    if draw.chance(0.15):
        options |= _block_map(draw, shape)
    if packed:
        count = draw.number(1, 5)
        options["cumulative_query_lengths"] = draw.increasing(count, queries)
        if queries != new_keys or draw.chance(0.5):
            options["cumulative_key_lengths"] = draw.increasing(count, new_keys)
        return Visibility(**options)
    if draw.chance(0.2):
        options["query_lengths"] = tuple(draw.number(0, queries) for _ in range(batch))
    if keys == new_keys and draw.chance(0.3):
        options["key_lengths"] = tuple(draw.number(0, new_keys) for _ in range(batch))
    return Visibility(**options)


def _mask(draw: Draw, shape: tuple[int, int, int, int]) -> Array:
    """A boolean or floating mask, broadcast over some axes, short of some keys."""
    *leading, keys = shape
    axes = [1 if draw.chance(0.5) else size for size in leading]
    width = draw.number(2, keys) if keys > 2 and draw.chance(0.2) else keys
    attends = draw.flags(draw.one_of((0.95, 0.6, 0.1)), *axes, width)
    if draw.chance(0.5):
        return attends
    return np.where(attends, draw.normal(*axes, width) * draw.magnitude(0.1, 10), -np.inf)


def _block_map(draw: Draw, shape: tuple[int, int, int, int]) -> dict[str, Any]:
    """A block map and the sizes of its blocks."""
    batch, heads, queries, keys = shape
    rows, columns = draw.number(1, 40), draw.number(1, 40)
    leading = [1 if draw.chance(0.5) else size for size in (batch, heads)]
    square = draw.chance(0.5)
    if square:
        columns = rows
    return {
        "block_map": draw.flags(0.6, *leading, -(-queries // rows), -(-keys // columns)),
        "query_block_size": rows,
        "key_block_size": 0 if square else columns,
    }


def _scoring(draw: Draw, batch: int, heads: int) -> Scoring:
    options: dict[str, Any] = {}
    if draw.chance(0.3):
        options["scale"] = draw.magnitude(0.02, 0.5) * draw.one_of((-1, 1))
    if draw.chance(0.2):
        options["softcap"] = draw.magnitude(1, 50)
    if draw.chance(0.2):
        options["sinks"] = draw.normal(heads) * 3
    if draw.chance(0.2):
        shape = draw.one_of(((heads,), (batch, heads)))
        options["alibi"] = Alibi(slopes=None if draw.chance(0.5) else np.abs(draw.normal(*shape)) * 0.2)
    if draw.chance(0.2):
        options["relative_bias"] = RelativeBias(
            table=draw.normal(draw.one_of((8, 16, 32)), heads),
            bidirectional=draw.chance(0.5),
            max_distance=draw.one_of((0, 20, 64)),
        )
    return Scoring(**options)


def _rotary(draw: Draw, head_size: int) -> Rotary | None:
    if head_size < 2:
        return None
    whole = head_size % 2 == 0 and draw.chance(0.5)
    return Rotary(
        base=draw.one_of((0.0, 500.0, 1e6)),
        rotary_size=0 if whole else 2 * draw.number(1, head_size // 2),
        pairing=draw.one_of(RotaryPairing),
    )
