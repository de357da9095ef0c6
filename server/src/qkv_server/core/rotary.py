"""Rotary position embedding: pairs of features are turned by an angle that grows with the position.

"RoFormer" (Su et al., 2021), section 3.2; ONNX operator RotaryEmbedding (opset 23).
"""

import numpy as np

from qkv_server.core.precision import FLOATING, compute_type, is_floating, widened
from qkv_server.core.problem import Array
from qkv_server.core.violations import Violations


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
    size = rotary_size or per_head.shape[-1]
    turning, still = widened(per_head[..., :size], compute), per_head[..., size:]
    if position_ids is not None:
        cosines, sines = cosines[position_ids], sines[position_ids]  # (B, L, size / 2)
    cosine, sine = (widened(table, compute)[:, :, None] for table in (cosines, sines))  # (B, L, 1, size / 2)
    if interleaved:
        first, second = turning[..., 0::2], turning[..., 1::2]
    else:
        first, second = np.split(turning, 2, axis=-1)
    turned = (first * cosine - second * sine, first * sine + second * cosine)
    if interleaved:
        rotated = np.stack(turned, axis=-1).reshape(turning.shape)
    else:
        rotated = np.concatenate(turned, axis=-1)
    result = np.concatenate((rotated.astype(x.dtype, copy=False), still), axis=-1)
    return result.reshape(x.shape) if x.ndim == 3 else result.swapaxes(1, 2)


def _check(x: Array, cosines: Array, sines: Array, position_ids: Array | None, heads: int, rotary_size: int) -> None:
    found = Violations()
    for name, array in (("x", x), ("cosines", cosines), ("sines", sines)):
        found.require(
            is_floating(array.dtype), name, f"type is {array.dtype.name}, expected one of {', '.join(FLOATING)}"
        )
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
