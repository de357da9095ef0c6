"""Rotary position embedding: pairs of features are turned by an angle that grows with the position.

"RoFormer" (Su et al., 2021), section 3.2; ONNX operator RotaryEmbedding (opset 23).
"""

from typing import NamedTuple

import numpy as np

from qkv_server.core.dimensions import Dimensions
from qkv_server.core.positions import IntArray, segment_starts, standing, valid_keys, valid_queries
from qkv_server.core.precision import compute_type, widened
from qkv_server.core.problem import Array, Rotary, RotaryPairing, Visibility
from qkv_server.core.rotary_scaling import unscaled
from qkv_server.core.violations import Violations

DEFAULT_BASE = 10000.0


class Turn(NamedTuple):
    """By how much the features of heads (B, H, N, D) are turned."""

    cosines: Array  # (B or 1, 1, N, size / 2)
    sines: Array  # (B or 1, 1, N, size / 2)
    pairing: RotaryPairing

    def forth(self, heads: Array) -> Array:
        """The heads turned."""
        return turned(heads, self.cosines, self.sines, self.pairing)

    def back(self, heads: Array) -> Array:
        """What `forth` undoes up to its amplitude: its transpose, which carries gradients."""
        return turned(heads, self.cosines, -self.sines, self.pairing)


def turns(rotary: Rotary, visibility: Visibility, dimensions: Dimensions) -> tuple[Turn, Turn]:
    """By how much queries and new keys are turned."""
    queries, keys = rotary_positions(rotary, visibility, dimensions)
    size = rotary.rotary_size or dimensions.head_size
    base = rotary.base or DEFAULT_BASE
    if rotary.scaling is None:
        frequencies, amplitude = unscaled(base, size), 1.0
    else:
        length = rotary.sequence_length or _sequence_length(queries, keys, visibility, dimensions)
        frequencies, amplitude = rotary.scaling.frequencies(base, size, length), rotary.scaling.amplitude

    def turn(positions: IntArray) -> Turn:
        angles = positions[:, None, :, None] * frequencies
        cosines, sines = amplitude * np.cos(angles), amplitude * np.sin(angles)
        return Turn(widened(cosines, dimensions.compute), widened(sines, dimensions.compute), rotary.pairing)

    return turn(queries), turn(keys)


def rotary_positions(rotary: Rotary, visibility: Visibility, dimensions: Dimensions) -> tuple[IntArray, IntArray]:
    """The positions of queries and new keys: (B or 1, L) and (B or 1, S)."""
    if rotary.query_positions is not None:
        queries = _rows(rotary.query_positions)
    else:
        at = standing(visibility, dimensions)
        queries = at.position - at.begin
    if rotary.key_positions is not None:
        return queries, _rows(rotary.key_positions)
    keys = dimensions.past + np.arange(dimensions.new_keys)[None]
    if len(visibility.cumulative_query_lengths):
        starts = segment_starts(visibility)[1]
        keys = keys - starts[np.searchsorted(starts, keys, side="right") - 1]
    return queries, keys


def turned(x: Array, cosines: Array, sines: Array, pairing: RotaryPairing) -> Array:
    """Heads (…, D) whose first features, twice as many as the tables (…, size / 2) have, are turned."""
    half = cosines.shape[-1]
    if pairing is RotaryPairing.INTERLEAVED:
        first, second = slice(0, 2 * half, 2), slice(1, 2 * half, 2)
    else:
        first, second = slice(0, half), slice(half, 2 * half)
    result = x.copy()
    result[..., first] = x[..., first] * cosines - x[..., second] * sines
    result[..., second] = x[..., first] * sines + x[..., second] * cosines
    return result


def _rows(positions: Array) -> IntArray:
    """(N,) or (B, N) → (1 or B, N)."""
    return np.atleast_2d(positions).astype(np.int64)


def _sequence_length(queries: IntArray, keys: IntArray, visibility: Visibility, dimensions: Dimensions) -> int:
    """The largest position of a valid query or key, plus 1."""
    new_keys = valid_keys(visibility, dimensions)[:, dimensions.past : dimensions.keys]
    of_queries = np.where(valid_queries(visibility, dimensions), queries, 0).max(initial=0)
    return 1 + int(max(of_queries, np.where(new_keys, keys, 0).max(initial=0)))


def rotary_tables(positions: int, rotary_size: int, base: float = 10000.0) -> tuple[Array, Array]:
    """Cosines and sines of position · base^(−2i / rotary_size): two float64 arrays (positions, rotary_size / 2)."""
    angles = np.outer(np.arange(positions), base ** (-np.arange(0, rotary_size, 2) / rotary_size))
    return np.cos(angles), np.sin(angles)


@np.errstate(all="ignore")  # NaN and infinity are answers here, not accidents
def rotary_embedding(
    x: Array,
    cosines: Array,
    sines: Array,
    position_ids: Array | None = None,
    *,
    heads: int = 0,
    rotary_size: int = 0,
    interleaved: bool = False,
) -> Array:
    """X with the first rotary_size features of each head turned; the shape and type of x.

    x is (B, H, L, D), or (B, L, H·D) with the number of heads. Cosines and sines are (positions, rotary_size / 2) with
    integer position_ids (B, L), or (B, L, rotary_size / 2) without. rotary_size 0 is all of D. Pairs are features i and
    i + rotary_size / 2 (half-split, as Llama), or 2i and 2i + 1 (interleaved, as GPT-J). Raises InvalidProblemError.
    """
    _check(x, cosines, sines, position_ids, heads, rotary_size)
    compute = compute_type(x.dtype, cosines.dtype, sines.dtype)
    if x.ndim == 3:
        per_head = x.reshape(*x.shape[:2], heads, x.shape[2] // heads)  # (B, L, H, D)
    else:
        per_head = x.swapaxes(1, 2)  # (B, L, H, D)
    if position_ids is not None:
        cosines, sines = cosines[position_ids], sines[position_ids]  # (B, L, size / 2)
    cosine, sine = (widened(table, compute)[:, :, None] for table in (cosines, sines))  # (B, L, 1, size / 2)
    pairing = RotaryPairing.INTERLEAVED if interleaved else RotaryPairing.HALF_SPLIT
    result = turned(widened(per_head, compute), cosine, sine, pairing).astype(x.dtype, copy=False)
    return result.reshape(x.shape) if x.ndim == 3 else result.swapaxes(1, 2)


def _check(x: Array, cosines: Array, sines: Array, position_ids: Array | None, heads: int, rotary_size: int) -> None:
    found = Violations()
    for name, array in (("x", x), ("cosines", cosines), ("sines", sines)):
        found.require_floating(array.dtype, name)
    if not found.require(x.ndim in (3, 4), "x", f"rank is {x.ndim}, expected 3 or 4"):
        found.raise_if_any()
    if x.ndim == 3:
        fits = heads > 0 and x.shape[-1] % heads == 0
        found.require(fits, "heads", f"is {heads}, expected a divisor of {x.shape[-1]}, the last axis of x")
        if not fits:
            found.raise_if_any()
        batch, length, features = x.shape
        head_size = features // heads
    else:
        batch, axis_heads, length, head_size = x.shape
        found.require(heads in (0, axis_heads), "heads", f"is {heads}, but x has {axis_heads} heads on its axis")
    size = rotary_size or head_size
    found.require(
        0 < size <= head_size and size % 2 == 0,
        "rotary_size",
        f"is {size}, expected an even number up to the head size, {head_size}",
    )
    for name, table in (("cosines", cosines), ("sines", sines)):
        if position_ids is None:
            expected: tuple[int, ...] = (batch, length, size // 2)
            found.require(table.shape == expected, name, f"shape is {table.shape}, expected {expected}")
        else:
            fits = table.ndim == 2 and table.shape[1] == size // 2 and table.shape[:1] == cosines.shape[:1]
            found.require(fits, name, f"shape is {table.shape}, expected (positions, {size // 2})")
    if position_ids is not None and found.require(
        position_ids.shape == (batch, length) and position_ids.dtype.kind in "iu",
        "position_ids",
        f"are {position_ids.dtype.name} {position_ids.shape}, expected integers ({batch}, {length})",
    ):
        limit = cosines.shape[0] if cosines.ndim else 1
        found.require(
            bool(((position_ids >= 0) & (position_ids < limit)).all()),
            "position_ids",
            f"reach outside the {limit} positions of the tables",
        )
    found.raise_if_any()
