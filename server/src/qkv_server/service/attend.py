"""The service of AttentionService.Attend: decode → admit → compute → encode."""

import time
from functools import partial

from qkv.v1.attention_pb2 import AttentionRequest, AttentionResponse
from qkv.wire import Draft, Received
from qkv_server import core
from qkv_server.service.limits import Limits
from qkv_server.service.reader import SEMANTICS_VERSION
from qkv_server.service.request import Question, read
from qkv_server.service.response import report, write
from qkv_server.service.workers import Prepared, Turn


def attend(request: Received[AttentionRequest], limits: Limits, arrived: float) -> Prepared:
    """Prepare a request that arrived at a time of `time.monotonic`; raises ServiceError for every refusal."""
    question = read(request)
    limits.admit(
        answer=core.answer_bytes(question.problem, question.dimensions),
        working=core.working_bytes(question.problem, question.dimensions),
    )
    return Prepared(partial(_answer, question, arrived), core.is_tiny(question.dimensions))


def _answer(question: Question, arrived: float, turn: Turn) -> Draft[AttentionResponse]:
    started = time.monotonic()
    answer = core.solve(question.problem, question.dimensions, turn.spread, turn.threads, turn.cancellation)
    finished = time.monotonic()
    response = write(answer, in_matrices=question.in_matrices)
    response.message.semantics_version = SEMANTICS_VERSION
    response.message.report.CopyFrom(report(answer.path, arrived, started, finished))
    return response
