"""The service of AttentionService.Differentiate: as that of `attend`."""

import time
from functools import partial
from operator import attrgetter
from typing import NamedTuple

from qkv import Violation
from qkv.v1.attention_pb2 import AttentionRequest, DifferentiateRequest, DifferentiateResponse
from qkv.v1.tensor_pb2 import Operand
from qkv.wire import Draft, Received
from qkv_server import core
from qkv_server.core.problem import Array
from qkv_server.service.errors import InvalidRequestError
from qkv_server.service.limits import Limits
from qkv_server.service.reader import SEMANTICS_VERSION, Reader
from qkv_server.service.request import check_problem, read_problem
from qkv_server.service.response import fill, report
from qkv_server.service.workers import Prepared, Turn

OPERANDS = {  # of each gradient, by its path in the call
    "d_query": "query",
    "d_key": "key",
    "d_value": "value",
    "d_mask": "visibility.mask",
    "d_sinks": "scoring.sinks",
}


class Question(NamedTuple):
    """A problem that has been checked, its sizes, and the gradient with respect to its output."""

    problem: core.Problem
    dimensions: core.Dimensions
    d_output: Array


def differentiate(request: Received[DifferentiateRequest], limits: Limits, arrived: float) -> Prepared:
    """Prepare a request that arrived at a time of `time.monotonic`; raises ServiceError for every refusal."""
    question = _read(request)
    limits.admit(
        answer=core.gradient_bytes(question.problem),
        working=core.gradient_working_bytes(question.problem, question.dimensions),
    )
    answer = partial(_answer, question, request.message.attention, arrived)
    return Prepared(answer, core.is_tiny(question.dimensions))


def _answer(question: Question, call: AttentionRequest, arrived: float, turn: Turn) -> Draft[DifferentiateResponse]:
    started = time.monotonic()
    gradients = core.solve_gradients(*question, turn.spread, turn.threads, turn.cancellation)
    finished = time.monotonic()
    response = _write(gradients, call)
    response.message.semantics_version = SEMANTICS_VERSION
    response.message.report.CopyFrom(report(gradients.path, arrived, started, finished))
    return response


def _read(request: Received[DifferentiateRequest]) -> Question:
    """The question that a request asks; raises InvalidRequestError naming every wrong field."""
    of_call, reader = Reader(request, "attention."), Reader(request)
    problem = read_problem(request.message.attention, (), of_call)
    dimensions = check_problem(problem, of_call)
    reader.violations += [Violation(f"attention.{wrong.field}", wrong.description) for wrong in of_call.violations]
    d_output = reader.needed(request.message, "d_output")
    if dimensions is not None and reader.every_shape_known:
        try:
            core.check_d_output(problem, dimensions, d_output)
        except core.InvalidProblemError as error:
            reader.note_found(error)
    if reader.violations or dimensions is None:
        raise InvalidRequestError(reader.violations)
    return Question(problem, dimensions, d_output)


def _write(gradients: core.Gradients, call: AttentionRequest) -> Draft[DifferentiateResponse]:
    """The response with every gradient, as a matrix where its operand was one."""
    response = Draft(DifferentiateResponse())
    for name, path in OPERANDS.items():
        array: Array | None = getattr(gradients, name)
        if array is not None:
            given: Operand = attrgetter(path)(call)
            fill(response, name, array, in_matrices=given.HasField("matrix"))
    return response
