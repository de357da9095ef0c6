"""The service of AttentionService.Attend: decode → admit → compute → encode, in one thread, which others may help."""

import time

from qkv.v1.attention_pb2 import AttentionRequest, AttentionResponse
from qkv_server import core
from qkv_server.service.errors import told_when_out_of_memory
from qkv_server.service.limits import Limits
from qkv_server.service.reader import SEMANTICS_VERSION
from qkv_server.service.request import read
from qkv_server.service.response import report, write
from qkv_server.service.workers import Turn


@told_when_out_of_memory()
def attend(request: AttentionRequest, limits: Limits, turn: Turn, arrived: float) -> AttentionResponse:
    """Answer a request that arrived at a time of `time.monotonic`, in a turn with the workers.

    Raises ServiceError for every refusal, and core.CancelledError when the turn is cancelled.
    """
    question = read(request)
    limits.admit(
        answer=core.answer_bytes(question.problem, question.dimensions),
        working=core.working_bytes(question.problem, question.dimensions),
    )
    started = time.monotonic()
    answer = core.solve(question.problem, question.dimensions, turn.spread, turn.threads, turn.cancellation)
    finished = time.monotonic()
    response = write(answer, in_matrices=question.in_matrices)
    response.semantics_version = SEMANTICS_VERSION
    response.report.CopyFrom(report(answer.path, arrived, started, finished))
    return response
