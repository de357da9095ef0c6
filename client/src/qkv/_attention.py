"""The calls of AttentionService: NumPy arguments in, a request message out."""

from collections.abc import Mapping
from typing import Any, Unpack

import numpy as np
import numpy.typing as npt

from qkv import codec
from qkv._calls import Call, Method
from qkv._options import AttentionOptions, AxisOrderName, named_choice
from qkv._results import AttentionResult
from qkv.v1.attention_pb2 import (
    Alignment,
    AttentionRequest,
    AttentionResponse,
    AxisOrder,
    EmptyRow,
    LogBase,
    MaskPolarity,
    MultiHead,
    Path,
    Quantity,
    SoftmaxAxis,
)
from qkv.v1.tensor_pb2 import Operand

ATTEND = Method("/qkv.v1.AttentionService/Attend", AttentionRequest, AttentionResponse)


def attention(
    query: npt.ArrayLike,
    key: npt.ArrayLike | None = None,
    value: npt.ArrayLike | None = None,
    *,
    heads: int | None = None,
    kv_heads: int | None = None,
    axis_order: AxisOrderName | None = None,
    **options: Unpack[AttentionOptions],
) -> Call[AttentionResult]:
    """Scaled dot-product attention: softmax(query·keyᵀ·scale)·value.

    Shapes: (L, D); (B, L, D); with head counts (L, H·D) and (B, L, H·D); (B, H, L, D), or (B, L, H, D) with
    axis_order="sequence_first". A key left out is the query, a value left out is the key. The output and every quantity
    asked for by `outputs` have the type of the query.

    The options are those of `qkv.AttentionOptions`; the contract, protos/qkv/v1/attention.proto, says each in full.
    Raises InvalidRequestError with every wrong field, and the other errors under CallError.
    """
    multi_head = _multi_head(heads, kv_heads, axis_order)
    return _call(query, key, value, multi_head, options)


def multi_head_attention(
    query: npt.ArrayLike,
    key: npt.ArrayLike | None = None,
    value: npt.ArrayLike | None = None,
    *,
    heads: int,
    kv_heads: int | None = None,
    query_weight: npt.ArrayLike | None = None,
    key_weight: npt.ArrayLike | None = None,
    value_weight: npt.ArrayLike | None = None,
    output_weight: npt.ArrayLike | None = None,
    query_bias: npt.ArrayLike | None = None,
    key_bias: npt.ArrayLike | None = None,
    value_bias: npt.ArrayLike | None = None,
    output_bias: npt.ArrayLike | None = None,
    extra_key: npt.ArrayLike | None = None,
    extra_value: npt.ArrayLike | None = None,
    add_zero_attention: bool = False,
    **options: Unpack[AttentionOptions],
) -> Call[AttentionResult]:
    """Multi-head attention with projections, as torch.nn.MultiheadAttention: query (L, E) or (B, L, E).

    Weights are (out, in), y = x·Wᵀ + b; each may be left out. extra_key and extra_value are torch's bias_k and bias_v.
    Masks mean what the contract says unless mask_polarity="true_hides" says what torch.nn.MultiheadAttention does.

    The options are those of `qkv.AttentionOptions`. Raises as `attention` does.
    """
    multi_head = _multi_head(heads, kv_heads, None)
    multi_head.add_zero_attention = add_zero_attention
    arrays = {
        "query_weight": query_weight,
        "key_weight": key_weight,
        "value_weight": value_weight,
        "output_weight": output_weight,
        "query_bias": query_bias,
        "key_bias": key_bias,
        "value_bias": value_bias,
        "output_bias": output_bias,
        "extra_key": extra_key,
        "extra_value": extra_value,
    }
    _set_operands(multi_head, arrays)
    return _call(query, key, value, multi_head, options)


def _multi_head(heads: int | None, kv_heads: int | None, axis_order: AxisOrderName | None) -> MultiHead:
    multi_head = MultiHead()
    for name, count in (("heads", heads), ("kv_heads", kv_heads)):
        if count is not None:
            if count < 1:
                raise ValueError(f"{name}: is {count}, expected at least 1")
            setattr(multi_head, name, count)
    if axis_order is not None:
        multi_head.axis_order = named_choice(AxisOrder, "AXIS_ORDER_", axis_order, "axis_order")
    return multi_head


def _call(
    query: npt.ArrayLike,
    key: npt.ArrayLike | None,
    value: npt.ArrayLike | None,
    multi_head: MultiHead,
    options: AttentionOptions,
) -> Call[AttentionResult]:
    if unknown := set(options) - AttentionOptions.__optional_keys__:
        known = ", ".join(sorted(AttentionOptions.__optional_keys__))
        raise TypeError(f"unknown option {', '.join(sorted(unknown))}; expected one of {known}")
    request = AttentionRequest(multi_head=multi_head, semantics_version=options.get("semantics_version", 0))
    past_key, past_value = options.get("past_key"), options.get("past_value")
    _set_operands(request, {"query": query, "key": key, "value": value, "past_key": past_key, "past_value": past_value})
    _set_visibility(request, options)
    _set_scoring(request, options)
    if (path := options.get("path")) is not None:
        request.path = named_choice(Path, "PATH_", path, "path")
    for name in options.get("outputs") or ():
        request.outputs.append(named_choice(Quantity, "QUANTITY_", name, "outputs"))
    return Call(
        ATTEND,
        request,
        AttentionResult.from_response,
        timeout=options.get("timeout"),
        wait_for_ready=options.get("wait_for_ready"),
    )


def _set_visibility(request: AttentionRequest, options: AttentionOptions) -> None:
    visibility = request.visibility
    _set_operands(visibility, {"mask": options.get("mask")})
    visibility.causal = bool(options.get("causal"))
    if (polarity := options.get("mask_polarity")) is not None:
        visibility.mask_polarity = named_choice(MaskPolarity, "MASK_POLARITY_", polarity, "mask_polarity")
    if (alignment := options.get("alignment")) is not None:
        visibility.alignment = named_choice(Alignment, "ALIGNMENT_", alignment, "alignment")
    if (empty_row := options.get("empty_row")) is not None:
        visibility.empty_row = named_choice(EmptyRow, "EMPTY_ROW_", empty_row, "empty_row")
    if (window := options.get("window")) is not None:
        try:
            left, right = window
        except (TypeError, ValueError):
            description = f"is {window!r}, expected (left, right): a single number could bound one side or both"
            raise TypeError(f"window: {description}") from None
        if left is not None:
            visibility.window_left = left
        if right is not None:
            visibility.window_right = right
    for name in ("key_lengths", "query_lengths"):
        if (lengths := options.get(name)) is not None:
            getattr(visibility, name).extend(np.asarray(lengths).ravel().tolist())


def _set_scoring(request: AttentionRequest, options: AttentionOptions) -> None:
    scoring = request.scoring
    if (scale := options.get("scale")) is not None:
        scoring.scale = scale
    if (softcap := options.get("softcap")) is not None:
        scoring.softcap = softcap
    if (axis := options.get("softmax_axis")) is not None:
        scoring.softmax_axis = named_choice(SoftmaxAxis, "SOFTMAX_AXIS_", axis, "softmax_axis")
    if (base := options.get("log_base")) is not None:
        scoring.log_base = named_choice(LogBase, "LOG_BASE_", base, "log_base")
    if (precision := options.get("softmax_precision")) is not None:
        scoring.softmax_precision = codec.data_type(np.dtype(precision))


def _set_operands(message: Any, arrays: Mapping[str, npt.ArrayLike | None]) -> None:
    """Set the operand fields of a message; a number that Python wrote is float64.

    But for masks: a list of 0 and 1 could be meant as booleans or to be added, so that the server refuses it.
    """
    for name, given in arrays.items():
        if given is None:
            continue
        array = np.asarray(given)
        if not hasattr(given, "dtype") and array.dtype.kind in "iu" and name != "mask":
            array = array.astype(np.float64)
        try:
            getattr(message, name).CopyFrom(Operand(tensor=codec.to_tensor(array)))
        except TypeError as error:
            raise TypeError(f"{name}: {error}") from None
