"""The calls of AttentionService.Attend: NumPy arguments in, a request message out."""

from typing import Unpack

import numpy.typing as npt

from qkv._calls import Call, Method
from qkv._names import named_choice, refuse_unknown
from qkv._options import AttentionOptions, AxisOrderName, MultiHeadOptions
from qkv._problem import set_multi_head, set_problem
from qkv._results import AttentionResult
from qkv.v1.attention_pb2 import AttentionRequest, AttentionResponse, Quantity
from qkv.wire import Draft

ATTEND = Method("/qkv.v1.AttentionService/Attend", AttentionResponse)


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
    refuse_unknown(options, AttentionOptions.__annotations__, "option")
    draft = Draft(AttentionRequest())
    set_multi_head(draft.part("multi_head"), heads, kv_heads, axis_order, {})
    set_problem(draft, query, key, value, options)
    return _call(draft, options)


def multi_head_attention(
    query: npt.ArrayLike,
    key: npt.ArrayLike | None = None,
    value: npt.ArrayLike | None = None,
    *,
    heads: int,
    kv_heads: int | None = None,
    **options: Unpack[MultiHeadOptions],
) -> Call[AttentionResult]:
    """Multi-head attention with projections, as torch.nn.MultiheadAttention: query (L, E) or (B, L, E).

    Weights are (out, in), y = x·Wᵀ + b; each may be left out. extra_key and extra_value are torch's bias_k and bias_v.
    Masks mean what the contract says unless mask_polarity="true_hides" says what torch.nn.MultiheadAttention does.

    The options are those of `qkv.MultiHeadOptions`. Raises as `attention` does.
    """
    refuse_unknown(options, MultiHeadOptions.__annotations__, "option")
    draft = Draft(AttentionRequest())
    set_multi_head(draft.part("multi_head"), heads, kv_heads, None, options)
    set_problem(draft, query, key, value, options)
    return _call(draft, options)


def _call(draft: Draft[AttentionRequest], options: AttentionOptions) -> Call[AttentionResult]:
    for name in options.get("outputs") or ():
        draft.message.outputs.append(named_choice(Quantity, "QUANTITY_", name, "outputs"))
    return Call(
        ATTEND,
        draft,
        AttentionResult.from_response,
        timeout=options.get("timeout"),
        wait_for_ready=options.get("wait_for_ready"),
    )
