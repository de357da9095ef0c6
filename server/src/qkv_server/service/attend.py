"""The service of AttentionService.Attend: decode → admit → compute → encode, in one thread."""

import time

from qkv.v1.attention_pb2 import AttentionRequest, AttentionResponse
from qkv_server import core
from qkv_server.service.errors import OutOfMemoryError
from qkv_server.service.limits import Limits
from qkv_server.service.request import SEMANTICS_VERSION, read
from qkv_server.service.response import write


def attend(request: AttentionRequest, limits: Limits, arrived: float) -> AttentionResponse:
    """Answer a request that arrived at a time of `time.monotonic`; raises ServiceError for every refusal."""
    try:
        question = read(request)
        limits.admit(question.problem, question.dimensions)
        started = time.monotonic()
        answer = core.solve(question.problem, question.dimensions)
        finished = time.monotonic()
        response = write(answer, in_matrices=question.in_matrices)
    except MemoryError:
        raise OutOfMemoryError from None
    response.semantics_version = SEMANTICS_VERSION
    response.report.queue_seconds = started - arrived
    response.report.compute_seconds = finished - started
    return response
