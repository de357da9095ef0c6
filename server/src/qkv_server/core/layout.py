"""Between the layouts that people send and the one the arithmetic uses: heads first, (B, H, L, D)."""

from qkv_server.core.dimensions import Dimensions
from qkv_server.core.problem import Array, AxisOrder


def heads_first(array: Array, heads: int, axis_order: AxisOrder) -> Array:
    """(L, H·D), (B, L, H·D) or rank 4 in its axis order → (B, H, L, D)."""
    if array.ndim == 4:
        return array if axis_order is AxisOrder.HEADS_FIRST else array.swapaxes(1, 2)
    batch = array.shape[0] if array.ndim == 3 else 1
    length, features = array.shape[-2:]
    return array.reshape(batch, length, heads, features // heads).swapaxes(1, 2)


def joined_heads(per_head: Array) -> Array:
    """(B, H, L, D) → (B, L, H·D)."""
    batch, heads, length, size = per_head.shape
    return per_head.swapaxes(1, 2).reshape(batch, length, heads * size)


def cache_heads_first(cache: Array, dimensions: Dimensions) -> Array:
    """A cache as it was sent, of rank 2, 3 or 4 → (B, Hkv, P, D)."""
    return cache.reshape(dimensions.batch, dimensions.kv_heads, *cache.shape[-2:])


def quantity_as_asked(quantity: Array, dimensions: Dimensions, *, heads_asked: bool) -> Array:
    """A quantity (B, H, …) without the axes that a question of rank 2 does not have: (H, …), or (…) without heads."""
    if dimensions.rank > 2:
        return quantity
    unbatched: Array = quantity[0] if heads_asked else quantity[0, 0]
    return unbatched
