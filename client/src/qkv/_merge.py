"""The call of AttentionService.Merge: parts in, a request message out."""

from collections.abc import Sequence

from qkv._calls import Call, Method
from qkv._fields import set_fields, set_operands
from qkv._merge_here import Part, pair_of
from qkv._names import named_choice
from qkv._options import AxisOrderName, LogBaseName
from qkv._results import MergeResult
from qkv.v1.attention_pb2 import AxisOrder, LogBase, MergeRequest, MergeResponse
from qkv.wire import Draft

MERGE = Method("/qkv.v1.AttentionService/Merge", MergeResponse)


def merge(
    parts: Sequence[Part],
    *,
    axis_order: AxisOrderName | None = None,
    log_base: LogBaseName | None = None,
    semantics_version: int = 0,
    timeout: float | None = None,
    wait_for_ready: bool | None = None,
) -> Call[MergeResult]:
    """The attention over all keys, from the answers to equal queries over some of the keys each.

    Parts are results that were asked with outputs=["log_sum_exp"], or pairs (output, log_sum_exp), every log-sum-exp in
    the same base. The answer is shaped and typed as the first part. `qkv.merge` computes the same without a server.
    Raises as `attention` does.
    """
    request = MergeRequest()
    for place, part in enumerate(parts):
        output, log_sum_exp = pair_of(part, place)
        set_operands(
            Draft(request.parts.add(), None), {"output": output, "log_sum_exp": log_sum_exp}, f"parts[{place}]."
        )
    if axis_order is not None:
        request.axis_order = named_choice(AxisOrder, "AXIS_ORDER_", axis_order, "axis_order")
    if log_base is not None:
        request.log_base = named_choice(LogBase, "LOG_BASE_", log_base, "log_base")
    set_fields(request, {"semantics_version": semantics_version})
    return Call(MERGE, Draft(request), MergeResult.from_response, timeout, wait_for_ready)
