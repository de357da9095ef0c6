"""The call of AttentionService.Differentiate: NumPy arguments in, a request message out."""

from typing import Unpack

import numpy.typing as npt

from qkv._calls import Call, Method
from qkv._fields import set_operands
from qkv._names import refuse_unknown
from qkv._options import AxisOrderName, GradientOptions
from qkv._problem import set_multi_head, set_problem
from qkv._results import GradientResult
from qkv.v1.attention_pb2 import DifferentiateRequest, DifferentiateResponse
from qkv.wire import Draft

DIFFERENTIATE = Method("/qkv.v1.AttentionService/Differentiate", DifferentiateResponse)


def differentiate(
    d_output: npt.ArrayLike,
    query: npt.ArrayLike,
    key: npt.ArrayLike | None = None,
    value: npt.ArrayLike | None = None,
    *,
    heads: int | None = None,
    kv_heads: int | None = None,
    axis_order: AxisOrderName | None = None,
    **options: Unpack[GradientOptions],
) -> Call[GradientResult]:
    """Gradients of a scalar with respect to the operands of an attention call, from its gradient d_output.

    d_output is shaped as the output of the call, which is asked as by `attention` or, with projections, by
    `multi_head_attention`. Each gradient is shaped and typed as its operand. A key that is left out is the query, so
    that d_query is the gradient through both; the same for a value.

    The options are those of `qkv.GradientOptions`. Raises as `attention` does; wrong fields of the call are named
    `attention.…`.
    """
    refuse_unknown(options, GradientOptions.__annotations__, "option")
    draft = Draft(DifferentiateRequest())
    attention = draft.part("attention")
    set_multi_head(attention.part("multi_head"), heads, kv_heads, axis_order, options)
    set_problem(attention, query, key, value, options)
    set_operands(draft, {"d_output": d_output})
    return Call(
        DIFFERENTIATE,
        draft,
        GradientResult.from_response,
        timeout=options.get("timeout"),
        wait_for_ready=options.get("wait_for_ready"),
    )
