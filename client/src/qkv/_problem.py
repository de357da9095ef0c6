"""From NumPy arrays and options to an AttentionRequest, for every call that asks about an attention."""

import numpy as np
import numpy.typing as npt

from qkv import codec
from qkv._fields import set_fields, set_lists, set_operands
from qkv._names import check_entries, named_choice
from qkv._options import AxisOrderName, ProblemOptions, Projections, RelativeBiasOptions
from qkv._rotary import set_rotary
from qkv.v1 import attention_pb2
from qkv.v1.attention_pb2 import (
    Alignment,
    AttentionRequest,
    AxisOrder,
    EmptyRow,
    LogBase,
    MaskPolarity,
    MultiHead,
    Path,
    SoftmaxAxis,
)
from qkv.wire import Draft

LENGTHS = ("key_lengths", "query_lengths", "cumulative_query_lengths", "cumulative_key_lengths")


def set_problem(
    draft: Draft[AttentionRequest],
    query: npt.ArrayLike,
    key: npt.ArrayLike | None,
    value: npt.ArrayLike | None,
    options: ProblemOptions,
) -> None:
    """Fill the request but for its heads; it asks for the output alone."""
    past_key, past_value = options.get("past_key"), options.get("past_value")
    set_operands(draft, {"query": query, "key": key, "value": value, "past_key": past_key, "past_value": past_value})
    _set_visibility(draft.part("visibility"), options)
    _set_scoring(draft.part("scoring"), options)
    if (rotary := options.get("rotary")) is not None:
        set_rotary(draft.part("rotary"), rotary)
    if (path := options.get("path")) is not None:
        draft.message.path = named_choice(Path, "PATH_", path, "path")
    set_fields(draft.message, {"semantics_version": options.get("semantics_version")})


def set_multi_head(
    draft: Draft[MultiHead],
    heads: int | None,
    kv_heads: int | None,
    axis_order: AxisOrderName | None,
    projections: Projections,
) -> None:
    """Fill the heads and their projections; raises ValueError for a count below 1."""
    multi_head = draft.message
    for name, count in (("heads", heads), ("kv_heads", kv_heads)):
        if count is not None:
            if count < 1:
                raise ValueError(f"{name}: is {count}, expected at least 1")
            setattr(multi_head, name, count)
    if axis_order is not None:
        multi_head.axis_order = named_choice(AxisOrder, "AXIS_ORDER_", axis_order, "axis_order")
    arrays = {name: array for name, array in projections.items() if name in Projections.__annotations__}
    if arrays.pop("add_zero_attention", False):
        multi_head.add_zero_attention = True
    set_operands(draft, arrays)


def _set_visibility(draft: Draft[attention_pb2.Visibility], options: ProblemOptions) -> None:
    set_operands(draft, {"mask": options.get("mask"), "block_map": options.get("block_map")})
    visibility = draft.message
    if options.get("causal"):
        visibility.causal = True
    if (polarity := options.get("mask_polarity")) is not None:
        visibility.mask_polarity = named_choice(MaskPolarity, "MASK_POLARITY_", polarity, "mask_polarity")
    if (alignment := options.get("alignment")) is not None:
        visibility.alignment = named_choice(Alignment, "ALIGNMENT_", alignment, "alignment")
    if (empty_row := options.get("empty_row")) is not None:
        visibility.empty_row = named_choice(EmptyRow, "EMPTY_ROW_", empty_row, "empty_row")
    _set_window(visibility, options)
    _set_block_size(visibility, options)
    set_fields(visibility, {"chunk_size": options.get("chunk_size")})
    set_lists(visibility, options, LENGTHS)


def _set_window(visibility: attention_pb2.Visibility, options: ProblemOptions) -> None:
    if (window := options.get("window")) is None:
        return
    try:
        left, right = window
    except (TypeError, ValueError):
        description = f"is {window!r}, expected (left, right): a single number could bound one side or both"
        raise TypeError(f"window: {description}") from None
    if left is not None:
        visibility.window_left = left
    if right is not None:
        visibility.window_right = right


def _set_block_size(visibility: attention_pb2.Visibility, options: ProblemOptions) -> None:
    size = options.get("block_size")
    if size is None:
        return
    try:
        queries, keys = (size, size) if isinstance(size, int | np.integer) else size
    except (TypeError, ValueError):
        raise TypeError(f"block_size: is {size!r}, expected a number, or (queries, keys)") from None
    visibility.query_block_size, visibility.key_block_size = queries, keys


def _set_scoring(draft: Draft[attention_pb2.Scoring], options: ProblemOptions) -> None:
    scoring = draft.message
    set_fields(scoring, {"scale": options.get("scale"), "softcap": options.get("softcap")})
    if (axis := options.get("softmax_axis")) is not None:
        scoring.softmax_axis = named_choice(SoftmaxAxis, "SOFTMAX_AXIS_", axis, "softmax_axis")
    if (base := options.get("log_base")) is not None:
        scoring.log_base = named_choice(LogBase, "LOG_BASE_", base, "log_base")
    if (precision := options.get("softmax_precision")) is not None:
        scoring.softmax_precision = codec.data_type(np.dtype(precision))
    set_operands(draft, {"sinks": options.get("sinks")})
    _set_alibi(draft.part("alibi"), options.get("alibi"))
    if (bias := options.get("relative_bias")) is not None:
        _set_relative_bias(draft.part("relative_bias"), bias)


def _set_alibi(draft: Draft[attention_pb2.Alibi], alibi: bool | npt.ArrayLike | None) -> None:
    if alibi is None or alibi is False:
        return
    draft.message.SetInParent()
    if alibi is not True:
        set_operands(draft, {"slopes": alibi}, "alibi.")


def _set_relative_bias(draft: Draft[attention_pb2.RelativeBias], options: RelativeBiasOptions) -> None:
    check_entries(options, RelativeBiasOptions.__annotations__, "relative_bias")
    draft.message.SetInParent()
    set_operands(draft, {"table": options.get("table")}, "relative_bias.")
    plain = {name: options.get(name) for name in ("bidirectional", "max_distance")}
    set_fields(draft.message, plain, "relative_bias.")
