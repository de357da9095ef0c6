"""From an AttentionRequest to a problem of the core: bytes to arrays, enums to names, everything wrong at once."""

from collections.abc import Iterable
from enum import Enum
from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
from google.protobuf.internal.enum_type_wrapper import EnumTypeWrapper
from google.protobuf.message import Message

from qkv import Violation, codec
from qkv.v1 import attention_pb2
from qkv.v1.attention_pb2 import AttentionRequest
from qkv.v1.tensor_pb2 import DataType
from qkv_server import core
from qkv_server.core.problem import BIASES, EXTRAS, PROJECTIONS
from qkv_server.service.errors import InvalidRequestError

Array = npt.NDArray[Any]
E = TypeVar("E", bound=Enum)

SEMANTICS_VERSION = 1


class Question(NamedTuple):
    """A problem that has been checked, its sizes, and whether it was asked with a matrix."""

    problem: core.Problem
    dimensions: core.Dimensions
    in_matrices: bool


def read(request: AttentionRequest) -> Question:
    """The question that a request asks; raises InvalidRequestError naming every wrong field."""
    reader = _Reader()
    problem = reader.problem(request)
    return Question(problem, reader.check(problem), request.query.HasField("matrix"))


class _Reader:
    """Reads one request and remembers what is wrong with it."""

    def __init__(self) -> None:
        self._wrong: list[Violation] = []
        self._every_shape_known = True

    def problem(self, request: AttentionRequest) -> core.Problem:
        """The problem, with zeros of the right shape where only the elements of an operand are wrong."""
        version = request.semantics_version
        if version not in (0, SEMANTICS_VERSION):
            self._note("semantics_version", f"is {version}, expected {SEMANTICS_VERSION}, or 0 for the newest")
        query = self._operand(request, "query")
        if query is None:
            query = np.empty((0, 0))
            self._every_shape_known = False
            if not request.HasField("query"):
                self._note("query", "needed, expected a matrix or a tensor")
        return core.Problem(
            query=query,
            key=self._operand(request, "key"),
            value=self._operand(request, "value"),
            multi_head=self._multi_head(request.multi_head),
            visibility=self._visibility(request.visibility),
            scoring=self._scoring(request.scoring),
            past_key=self._operand(request, "past_key"),
            past_value=self._operand(request, "past_value"),
            path=self._choice(core.Path, attention_pb2.Path, request.path, "path"),
            outputs=self._outputs(request.outputs),
        )

    def check(self, problem: core.Problem) -> core.Dimensions:
        """The sizes of the problem, if nothing is wrong with it; what the core finds is told with the rest."""
        dimensions = None
        try:
            if self._every_shape_known:
                dimensions = core.check(problem)
            else:
                core.check_options(problem)
        except core.InvalidProblemError as error:
            told = [violation.field for violation in self._wrong]
            for found in error.violations:
                if not any(field == found.field or field.startswith(f"{found.field}.") for field in told):
                    self._note(found.field, found.description)
            raise InvalidRequestError(self._wrong) from None
        if self._wrong or dimensions is None:
            raise InvalidRequestError(self._wrong)
        return dimensions

    def _multi_head(self, message: attention_pb2.MultiHead) -> core.MultiHead:
        order = self._choice(core.AxisOrder, attention_pb2.AxisOrder, message.axis_order, "multi_head.axis_order")
        return core.MultiHead(
            heads=message.heads,
            kv_heads=message.kv_heads,
            axis_order=order or core.AxisOrder.HEADS_FIRST,
            add_zero_attention=message.add_zero_attention,
            **{name: self._operand(message, name, "multi_head.") for name in (*PROJECTIONS, *BIASES, *EXTRAS)},
        )

    def _visibility(self, message: attention_pb2.Visibility) -> core.Visibility:
        polarity = self._choice(
            core.MaskPolarity, attention_pb2.MaskPolarity, message.mask_polarity, "visibility.mask_polarity"
        )
        empty_row = self._choice(core.EmptyRow, attention_pb2.EmptyRow, message.empty_row, "visibility.empty_row")
        return core.Visibility(
            mask=self._operand(message, "mask", "visibility."),
            mask_polarity=polarity or core.MaskPolarity.TRUE_ATTENDS,
            causal=message.causal,
            alignment=self._choice(core.Alignment, attention_pb2.Alignment, message.alignment, "visibility.alignment"),
            window_left=message.window_left if message.HasField("window_left") else None,
            window_right=message.window_right if message.HasField("window_right") else None,
            key_lengths=tuple(message.key_lengths),
            query_lengths=tuple(message.query_lengths),
            empty_row=empty_row or core.EmptyRow.ZERO,
        )

    def _scoring(self, message: attention_pb2.Scoring) -> core.Scoring:
        axis = self._choice(core.SoftmaxAxis, attention_pb2.SoftmaxAxis, message.softmax_axis, "scoring.softmax_axis")
        base = self._choice(core.LogBase, attention_pb2.LogBase, message.log_base, "scoring.log_base")
        precision = None
        if message.softmax_precision:
            precision = codec.DTYPES.get(message.softmax_precision)
            if precision is None:
                known = ", ".join(DataType.keys()[1:])
                self._note("scoring.softmax_precision", f"is {message.softmax_precision}, expected one of {known}")
        return core.Scoring(
            scale=message.scale if message.HasField("scale") else None,
            softcap=message.softcap,
            softmax_axis=axis or core.SoftmaxAxis.KEYS,
            softmax_precision=precision,
            log_base=base or core.LogBase.E,
        )

    def _outputs(self, numbers: Iterable[int]) -> frozenset[core.Quantity]:
        """The quantities asked for. Of the numbers that are none the smallest is told, however many there are."""
        asked = set(numbers)
        strange = asked - set(attention_pb2.Quantity.values()[1:])
        told = [min(strange)] if strange else []
        choices = (
            self._choice(core.Quantity, attention_pb2.Quantity, number, "outputs", needed=True)
            for number in (*(asked - strange), *told)
        )
        return frozenset(choice for choice in choices if choice is not None)

    def _operand(self, message: Message, name: str, prefix: str = "") -> Array | None:
        if not message.HasField(name):
            return None
        violations, array = codec.decode(getattr(message, name), prefix + name)
        self._wrong += violations
        self._every_shape_known &= array is not None
        return array

    def _choice(
        self, choices: type[E], enum: EnumTypeWrapper, number: int, field: str, *, needed: bool = False
    ) -> E | None:
        """The core's name of an enum value; None for UNSPECIFIED, or when the number is not known, which is noted."""
        if number == 0 and not needed:
            return None
        if number == 0 or number not in enum.values():
            self._note(field, f"is {number}, expected one of {', '.join(enum.keys()[1:])}")
            return None
        prefix = enum.Name(0).removesuffix("UNSPECIFIED")
        return choices[enum.Name(number).removeprefix(prefix)]

    def _note(self, field: str, description: str) -> None:
        self._wrong.append(Violation(field, description))
