"""Which keys each query may see: causality, windows and lengths as a range of keys, the mask as booleans and biases."""

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from qkv_server.core.dimensions import Dimensions
from qkv_server.core.precision import DType, is_floating
from qkv_server.core.problem import Alignment, Array, MaskPolarity, Visibility

BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]


def is_bounded(visibility: Visibility) -> bool:
    """Whether what a query may see depends on where it stands."""
    return visibility.causal or visibility.window_left is not None or visibility.window_right is not None


def key_range(
    visibility: Visibility, dimensions: Dimensions, queries: IntArray | None = None
) -> tuple[IntArray, IntArray]:
    """The first key that each query may see by position and length, and the one after the last: two (B or 1, L).

    Query i stands at position i + offset (`Alignment`), and sees position − left ≤ key ≤ position + right (ONNX
    Attention, opset 25). An empty range is (0, 0). `queries` (B or 1, N) are the ones to ask for; None is all.
    """
    if queries is None:
        queries = np.arange(dimensions.queries)[None]  # (1, L)
    if not (is_bounded(visibility) or len(visibility.key_lengths) or len(visibility.query_lengths)):
        low = np.zeros_like(queries)
        return low, low + dimensions.keys
    valid_keys = dimensions.past + _lengths(visibility.key_lengths, dimensions.new_keys)  # (B or 1, 1)
    valid_queries = _lengths(visibility.query_lengths, dimensions.queries)  # (B or 1, 1)
    if visibility.alignment is Alignment.BOTTOM_RIGHT:
        position = queries + valid_keys - valid_queries  # (B or 1, L)
    else:
        position = queries + np.full((1, 1), dimensions.past)
    low, high = np.broadcast_arrays(np.int64(0), valid_keys, position)[:2]
    reach = dimensions.queries + dimensions.keys  # a wider window is the same as none
    if visibility.window_left is not None:
        low = np.maximum(low, position - min(visibility.window_left, reach))
    right = 0 if visibility.causal else visibility.window_right
    if right is not None:
        high = np.minimum(high, position + min(right, reach) + 1)
    empty = (low >= high) | (queries >= valid_queries)
    return np.where(empty, 0, low), np.where(empty, 0, high)


def alignment_matters(visibility: Visibility, dimensions: Dimensions) -> bool:
    """Whether the two alignments let some query see different keys, by causality, windows and lengths.

    The first and the last query tell. Where the last sees the same by both although it stands elsewhere, it sees every
    valid key, so that no left bound cuts any query; the right bounds then differ the most at the first. So this costs
    nothing however long the sequences are: it is asked before a request is admitted.
    """
    if not is_bounded(visibility) or dimensions.batch == 0 or dimensions.queries == 0:
        return False
    last = np.maximum(_lengths(visibility.query_lengths, dimensions.queries) - 1, 0)  # (B or 1, 1)
    ends = np.concatenate((np.zeros_like(last), last), axis=1)  # (B or 1, 2)
    top_left, bottom_right = (
        key_range(replace(visibility, alignment=alignment), dimensions, ends) for alignment in Alignment
    )
    return any(bool((a != b).any()) for a, b in zip(top_left, bottom_right, strict=True))


def visible_pairs(visibility: Visibility, dimensions: Dimensions) -> BoolArray:
    """Which (query, key) pairs are visible: broadcasts to (B, Hq, L, T and the extra keys)."""
    low, high = key_range(visibility, dimensions)
    keys = np.arange(dimensions.keys)
    visible = (low[..., None] <= keys) & (keys < high[..., None])  # (B or 1, L, T)
    visible = visible[:, None]  # (B or 1, 1, L, T)
    if visibility.mask is not None:
        visible = visible & mask_attends(visibility, dimensions)
    if dimensions.extra_keys:
        extra = np.broadcast_to(
            valid_queries(visibility, dimensions)[:, None, :, None], (*visible.shape[:-1], dimensions.extra_keys)
        )
        visible = np.concatenate((visible, extra), axis=-1)
    return visible


def valid_queries(visibility: Visibility, dimensions: Dimensions) -> BoolArray:
    """Which queries are not padding: (B or 1, L)."""
    return np.arange(dimensions.queries) < _lengths(visibility.query_lengths, dimensions.queries)


def valid_keys(visibility: Visibility, dimensions: Dimensions) -> BoolArray:
    """Which keys are not padding: (B or 1, T and the extra keys)."""
    given = np.arange(dimensions.keys) < dimensions.past + _lengths(visibility.key_lengths, dimensions.new_keys)
    return np.pad(given, ((0, 0), (0, dimensions.extra_keys)), constant_values=True)


def mask_bias(visibility: Visibility, dimensions: Dimensions, dtype: DType) -> Array | None:
    """What a floating mask adds to the scores, broadcasting to (B, Hq, L, T and the extra keys), or None.

    Where the mask hides the bias is 0, so that a finite bias never becomes infinite in a narrower type.
    """
    mask = visibility.mask
    if mask is None or not is_floating(mask.dtype):
        return None
    limit = np.finfo(dtype).max
    wide = mask.astype(np.promote_types(dtype, np.float32) if mask.dtype.itemsize < 4 else mask.dtype)
    finite = np.isfinite(wide)
    bias = np.where(finite, np.clip(wide, -limit, limit), wide).astype(dtype)
    bias = np.where(np.isneginf(wide), dtype.type(0), bias)
    return _padded(bias, dimensions.all_keys, dtype.type(0))


def mask_attends(visibility: Visibility, dimensions: Dimensions) -> BoolArray:
    """The mask as booleans, padded with hidden to T keys (ONNX Attention, attn_mask)."""
    mask = visibility.mask
    assert mask is not None  # noqa: S101 - asked only when there is a mask
    if is_floating(mask.dtype):
        attends = mask != -np.inf
    else:
        attends = ~mask if visibility.mask_polarity is MaskPolarity.TRUE_HIDES else mask
    return _padded(attends, dimensions.keys, np.False_)


def _padded(mask: Array, keys: int, value: np.generic) -> Array:
    """The mask with its last axis extended to a number of keys."""
    missing = keys - mask.shape[-1]
    widths = [(0, 0)] * (mask.ndim - 1) + [(0, missing)]
    return np.pad(mask, widths, constant_values=value) if missing else mask


def _lengths(lengths: "npt.ArrayLike", everything: int) -> IntArray:
    """Lengths as a column (B, 1), or (1, 1) of everything when none are given."""
    column = np.asarray(lengths, dtype=np.int64).reshape(-1, 1)
    return column if len(column) else np.full((1, 1), everything, dtype=np.int64)
