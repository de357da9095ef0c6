"""Which keys each query may see: what goes by position and length as a range, masks as booleans and biases."""

from dataclasses import replace

import numpy as np

from qkv_server.core.dimensions import Dimensions
from qkv_server.core.positions import BoolArray, IntArray, Standing, segment_ends, standing, valid_queries
from qkv_server.core.precision import DType, is_floating
from qkv_server.core.problem import Alignment, Array, MaskPolarity, Visibility


def is_bounded(visibility: Visibility) -> bool:
    """Whether what a query may see depends on where it stands."""
    return (
        visibility.causal
        or visibility.window_left is not None
        or visibility.window_right is not None
        or visibility.chunk_size > 0
    )


def has_lengths(visibility: Visibility) -> bool:
    """Whether sequences are shorter than the axes that hold them."""
    return any(map(len, (visibility.key_lengths, visibility.query_lengths, visibility.cumulative_query_lengths)))


def is_limited(visibility: Visibility) -> bool:
    """Whether some query may be kept from some key by position, segment or length; `key_range` says from which."""
    return is_bounded(visibility) or has_lengths(visibility)


def key_range(visibility: Visibility, dimensions: Dimensions, at: Standing) -> tuple[IntArray, IntArray]:
    """The first key that each query may see by position and length, and the one after the last: two (B or 1, N).

    A query sees the valid keys of its segment with position − left ≤ key ≤ position + right (ONNX Attention, opset 25),
    of its own chunk. An empty range is (0, 0).
    """
    low, high = at.begin, at.end
    reach = dimensions.queries + dimensions.keys  # a wider window is the same as none
    if visibility.window_left is not None:
        low = np.maximum(low, at.position - min(visibility.window_left, reach))
    right = 0 if visibility.causal else visibility.window_right
    if right is not None:
        high = np.minimum(high, at.position + min(right, reach) + 1)
    if visibility.chunk_size:
        size = min(visibility.chunk_size, reach)
        chunk = at.begin + (at.position - at.begin) // size * size
        low, high = np.maximum(low, chunk), np.minimum(high, chunk + size)
    sees = (low < high) & at.valid
    return low * sees, high * sees


def alignment_matters(visibility: Visibility, dimensions: Dimensions, *, positional: bool) -> bool:
    """Whether the two alignments give some query different keys, or, where answers are `positional`, other positions.

    Chunks are positional. The first and the last query of a segment tell: where the last sees the same by both although
    it stands elsewhere, it sees every valid key, so that no left bound cuts any query; the right bounds then differ the
    most at the first. So this costs nothing however long sequences are: it is asked before a request is admitted.
    """
    positional |= visibility.chunk_size > 0
    if not (positional or is_bounded(visibility)) or dimensions.batch == 0 or dimensions.queries == 0:
        return False
    if dimensions.queries == dimensions.new_keys and not has_lengths(visibility):
        return False
    ends = segment_ends(visibility, dimensions)
    one, other = (standing(replace(visibility, alignment=alignment), dimensions, ends) for alignment in Alignment)
    differs = one.position != other.position if positional else np.zeros_like(one.valid)
    for mine, others in zip(
        key_range(visibility, dimensions, one), key_range(visibility, dimensions, other), strict=True
    ):
        differs = differs | (mine != others)
    return bool((differs & one.valid).any())


def visible_pairs(visibility: Visibility, dimensions: Dimensions) -> BoolArray:
    """Which (query, key) pairs are visible: broadcasts to (B, Hq, L, T and the extra keys)."""
    low, high = key_range(visibility, dimensions, standing(visibility, dimensions))
    keys = np.arange(dimensions.keys)
    visible = (low[..., None] <= keys) & (keys < high[..., None])  # (B or 1, L, T)
    visible = visible[:, None]  # (B or 1, 1, L, T)
    mask = given_mask(visibility, dimensions)
    if mask is not None:
        visible = visible & attends(mask[..., : dimensions.keys], visibility.mask_polarity)
    if visibility.block_map is not None:
        rows, columns = np.arange(dimensions.queries)[:, None], np.arange(dimensions.keys)
        visible = visible & block_map_attends(visibility, rows, columns)
    if dimensions.extra_keys:
        extra = np.broadcast_to(
            valid_queries(visibility, dimensions)[:, None, :, None], (*visible.shape[:-1], dimensions.extra_keys)
        )
        visible = np.concatenate((visible, extra), axis=-1)
    return visible


def given_mask(visibility: Visibility, dimensions: Dimensions) -> Array | None:
    """The mask with four axes and one entry for each key: short ones hide the rest, and extra keys are seen.

    Of the axes but the last any may be 1. It is a view of what was sent, unless its last axis has to grow.
    """
    mask = visibility.mask
    if mask is None:
        return None
    hides = -np.inf if is_floating(mask.dtype) else visibility.mask_polarity is MaskPolarity.TRUE_HIDES
    seen = 0 if is_floating(mask.dtype) else visibility.mask_polarity is MaskPolarity.TRUE_ATTENDS
    padded = _grown(four_axes(mask), dimensions.keys, hides)
    return _grown(padded, dimensions.all_keys, seen)


def attends(mask: Array, polarity: MaskPolarity) -> BoolArray:
    """Which pairs a mask, or a part of one, leaves visible (ONNX Attention, attn_mask)."""
    if is_floating(mask.dtype):
        visible: BoolArray = mask != -np.inf
        return visible
    return ~mask if polarity is MaskPolarity.TRUE_HIDES else mask


def mask_bias(mask: Array, dtype: DType) -> Array:
    """What a floating mask, or a part of one, adds to scores of a type; −inf, or anything, where it hides.

    Finite biases are finite in any type.
    """
    if mask.dtype == dtype:
        return mask
    if mask.dtype.itemsize <= dtype.itemsize:
        return mask.astype(dtype)
    limit = np.finfo(dtype).max
    return np.where(np.isfinite(mask), np.clip(mask, -limit, limit), mask).astype(dtype)


def block_map_attends(visibility: Visibility, queries: IntArray, keys: IntArray) -> BoolArray:
    """The block map at pairs of queries and given keys, whose places broadcast: (B or 1, Hq or 1, …)."""
    block_map = visibility.block_map
    assert block_map is not None  # noqa: S101 - asked only when there is one
    attends: BoolArray = four_axes(block_map)[
        :, :, queries // visibility.query_block_size, keys // key_block_size(visibility)
    ]
    return attends


def key_block_size(visibility: Visibility) -> int:
    """The number of keys of a block of the block map."""
    return visibility.key_block_size or visibility.query_block_size


def four_axes(mask: Array) -> Array:
    """A mask of lower rank with leading axes of 1: right-aligned to (B, Hq, …, …)."""
    return mask.reshape((1,) * (4 - mask.ndim) + mask.shape)


def _grown(mask: Array, keys: int, value: float) -> Array:
    """The mask with its last axis extended to a number of keys."""
    missing = keys - mask.shape[-1]
    return np.pad(mask, [(0, 0)] * 3 + [(0, missing)], constant_values=value) if missing else mask
