"""The service of AttentionService.Merge: as that of `attend`."""

from collections.abc import Sequence

from qkv.v1 import attention_pb2
from qkv.v1.attention_pb2 import MergeRequest, MergeResponse
from qkv.wire import Draft, Received
from qkv_server import core
from qkv_server.core.problem import Array
from qkv_server.core.violations import MOST_TOLD
from qkv_server.service.errors import InvalidRequestError
from qkv_server.service.limits import Limits
from qkv_server.service.reader import SEMANTICS_VERSION, Reader
from qkv_server.service.response import fill
from qkv_server.service.workers import Prepared, Turn


def merge(received: Received[MergeRequest], limits: Limits, _arrived: float) -> Prepared:
    """Prepare a request; raises ServiceError for every refusal."""
    request, reader = received.message, Reader(received)
    reader.semantics_version(request.semantics_version)
    parts = _parts(request, reader)
    order = reader.choice(core.AxisOrder, attention_pb2.AxisOrder, request.axis_order, "axis_order")
    base = reader.choice(core.LogBase, attention_pb2.LogBase, request.log_base, "log_base")
    if reader.violations:  # arrays that stand for wrong ones may be of any size
        raise InvalidRequestError(reader.violations)
    limits.admit(answer=_answer_bytes(parts), working=core.merging_bytes(parts))

    def answer(turn: Turn) -> Draft[MergeResponse]:
        try:
            merged = core.merge(parts, order or core.AxisOrder.HEADS_FIRST, base or core.LogBase.E, turn.cancellation)
        except core.InvalidProblemError as error:
            reader.note_found(error)
            raise InvalidRequestError(reader.violations) from None
        in_matrices = request.parts[0].output.HasField("matrix")
        response = Draft(MergeResponse(semantics_version=SEMANTICS_VERSION))
        fill(response, "output", merged.output, in_matrices=in_matrices)
        fill(response, "log_sum_exp", merged.log_sum_exp, in_matrices=in_matrices)
        return response

    return Prepared(answer, tiny=True)  # if the request is: nothing takes longer than its bytes


def _parts(request: MergeRequest, reader: Reader) -> list[core.PartialResult]:
    """The parts; none after more wrong ones than anybody would read of, which could be millions of a few bytes each."""
    parts = []
    for place, message in enumerate(request.parts):
        if len(reader.violations) > MOST_TOLD:
            break
        parts.append(_part(message, f"parts[{place}].", reader))
    return parts


def _part(message: attention_pb2.PartialResult, prefix: str, reader: Reader) -> core.PartialResult:
    output = reader.needed(message, "output", prefix)
    log_sum_exp = reader.needed(message, "log_sum_exp", prefix)
    if message.log_sum_exp.HasField("matrix") and _is_column(log_sum_exp, output):
        log_sum_exp = log_sum_exp[:, 0]
    return core.PartialResult(output=output, log_sum_exp=log_sum_exp)


def _is_column(log_sum_exp: Array, output: Array) -> bool:
    """Whether a matrix is (L, 1), the log-sum-exp of each row of the output, and not (H, 1), that of each head."""
    return output.ndim == 2 and log_sum_exp.shape == (output.shape[0], 1)


def _answer_bytes(parts: Sequence[core.PartialResult]) -> int:
    """The bytes of the answer, which is shaped and typed as the first part."""
    return sum(part.output.nbytes + part.log_sum_exp.nbytes for part in parts[:1])
