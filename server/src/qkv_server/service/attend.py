"""The service of AttentionService.Attend: decode → admit → compute → encode, in one thread, which others may help."""

import time

from qkv.v1.attention_pb2 import AttentionRequest, AttentionResponse
from qkv_server import core
from qkv_server.service.errors import OutOfMemoryError
from qkv_server.service.limits import Limits
from qkv_server.service.request import SEMANTICS_VERSION, read
from qkv_server.service.response import write
from qkv_server.service.workers import Turn


def attend(request: AttentionRequest, limits: Limits, turn: Turn, arrived: float) -> AttentionResponse:
    """Answer a request that arrived at a time of `time.monotonic`, in a turn with the workers.

    Raises ServiceError for every refusal, and core.CancelledError when the turn is cancelled.
    """
    try:
        question = read(request)
        limits.admit(question.problem, question.dimensions)
        started = time.monotonic()
        answer = core.solve(question.problem, question.dimensions, turn.spread, turn.threads, turn.cancellation)
        finished = time.monotonic()
        response = write(answer, in_matrices=question.in_matrices)
    except MemoryError:
        raise OutOfMemoryError from None
    response.semantics_version = SEMANTICS_VERSION
    response.report.queue_seconds = started - arrived
    response.report.compute_seconds = finished - started
    return response
