"""From an AttentionRequest to a problem of the core, checked; everything wrong is told at once."""

from collections.abc import Iterable
from typing import NamedTuple

from qkv.v1 import attention_pb2
from qkv.v1.attention_pb2 import AttentionRequest
from qkv.wire import Received
from qkv_server import core
from qkv_server.core.problem import BIASES, EXTRAS, PROJECTIONS
from qkv_server.service.errors import InvalidRequestError
from qkv_server.service.reader import Reader
from qkv_server.service.rotary import read_rotary
from qkv_server.service.scoring import read_scoring
from qkv_server.service.visibility import read_visibility


class Question(NamedTuple):
    """A problem that has been checked, its sizes, and whether it was asked with a matrix."""

    problem: core.Problem
    dimensions: core.Dimensions
    in_matrices: bool


def read(request: Received[AttentionRequest]) -> Question:
    """The question that a request asks; raises InvalidRequestError naming every wrong field."""
    reader = Reader(request)
    problem = read_problem(request.message, request.message.outputs, reader)
    dimensions = check_problem(problem, reader)
    if reader.violations or dimensions is None:
        raise InvalidRequestError(reader.violations)
    return Question(problem, dimensions, request.message.query.HasField("matrix"))


def read_problem(request: AttentionRequest, outputs: Iterable[int], reader: Reader) -> core.Problem:
    """The problem of a request, asked for these outputs.

    It has zeros of the right shape where only the elements of an operand are wrong.
    """
    reader.semantics_version(request.semantics_version)
    return core.Problem(
        query=reader.needed(request, "query"),
        key=reader.operand(request, "key"),
        value=reader.operand(request, "value"),
        multi_head=_multi_head(request.multi_head, reader) if request.HasField("multi_head") else core.MultiHead(),
        visibility=read_visibility(request.visibility, reader) if request.HasField("visibility") else core.Visibility(),
        scoring=read_scoring(request.scoring, reader) if request.HasField("scoring") else core.Scoring(),
        past_key=reader.operand(request, "past_key"),
        past_value=reader.operand(request, "past_value"),
        path=reader.choice(core.Path, attention_pb2.Path, request.path, "path"),
        outputs=_outputs(outputs, reader),
        rotary=read_rotary(request.rotary, reader) if request.HasField("rotary") else None,
    )


def check_problem(problem: core.Problem, reader: Reader) -> core.Dimensions | None:
    """The sizes of a problem if the core finds nothing wrong with it, else None; what it finds is noted."""
    try:
        if reader.every_shape_known:
            return core.check(problem)
        core.check_options(problem)
    except core.InvalidProblemError as error:
        reader.note_found(error)
    return None


def _multi_head(message: attention_pb2.MultiHead, reader: Reader) -> core.MultiHead:
    prefix = "multi_head."
    order = reader.choice(core.AxisOrder, attention_pb2.AxisOrder, message.axis_order, f"{prefix}axis_order")
    return core.MultiHead(
        heads=message.heads,
        kv_heads=message.kv_heads,
        axis_order=order or core.AxisOrder.HEADS_FIRST,
        add_zero_attention=message.add_zero_attention,
        **{name: reader.operand(message, name, prefix) for name in (*PROJECTIONS, *BIASES, *EXTRAS)},
    )


def _outputs(numbers: Iterable[int], reader: Reader) -> frozenset[core.Quantity]:
    """The quantities asked for. Of the numbers that are none the smallest is told, however many there are."""
    asked = set(numbers)
    if not asked:
        return frozenset()
    strange = asked - set(attention_pb2.Quantity.values()[1:])
    told = [min(strange)] if strange else []
    choices = (
        reader.choice(core.Quantity, attention_pb2.Quantity, number, "outputs", needed=True)
        for number in (*(asked - strange), *told)
    )
    return frozenset(choice for choice in choices if choice is not None)
