"""The fields of AttentionRequest by name, as inputs and parameters of a model. What they mean is said there alone.

A field of MultiHead, Visibility or Scoring is named as it is; what lies elsewhere or deeper by its path: `window_left`,
`alibi.slopes`, `rotary.yarn.factor`. Operands and lists are inputs; numbers and choices are parameters, and so is a
message, which can be asked for as its defaults say: `alibi`.
"""

from collections.abc import Iterator
from functools import reduce
from typing import Any, NamedTuple, TypeAlias

from google.protobuf.message import Message

from qkv.third_party.open_inference_pb2 import InferParameter
from qkv.v1.attention_pb2 import AttentionRequest
from qkv.v1.tensor_pb2 import DataType, Operand
from qkv_server.transport.oip.contents import DATATYPES

FieldDescriptor: TypeAlias = Any  # protobuf's, of whichever implementation it has

SECTIONS = ("multi_head", "visibility", "scoring")
OUTPUTS = "outputs"  # asked for as outputs

# Further names of types: the protocol's, and the numbers that ONNX gives to those in which a softmax can be computed.
TYPE_NAMES = {name: DataType.Name(number).removeprefix("DATA_TYPE_") for name, number in DATATYPES.items()}
TYPE_NAMES |= {"1": "FLOAT32", "10": "FLOAT16", "11": "FLOAT64", "16": "BFLOAT16"}


class Field(NamedTuple):
    """A field of an AttentionRequest: the fields that lead to it, itself the last."""

    path: tuple[FieldDescriptor, ...]

    @property
    def name(self) -> str:
        """What an input or a parameter for it is called."""
        begin = 1 if self.path[0].name in SECTIONS else 0
        return ".".join(field.name for field in self.path[begin:])

    @property
    def dotted(self) -> str:
        """What violations call it."""
        return ".".join(field.name for field in self.path)

    @property
    def last(self) -> FieldDescriptor:
        """The field itself."""
        return self.path[-1]

    def enclosing(self, request: AttentionRequest) -> Message:
        """The message that the field is in."""
        message: Message = reduce(getattr, (field.name for field in self.path[:-1]), request)
        return message

    def excluded_by(self, request: AttentionRequest) -> str | None:
        """The field that is given already and of which only one can be, if any."""
        message: Any = request
        for field in self.path:
            if field.containing_oneof is not None:
                chosen: str | None = message.WhichOneof(field.containing_oneof.name)
                if chosen not in (None, field.name):
                    return chosen
            message = getattr(message, field.name)
        return None

    @property
    def kind(self) -> str:
        """The values that it takes as a parameter."""
        match self.last.cpp_type:
            case self.last.CPPTYPE_BOOL | self.last.CPPTYPE_MESSAGE:
                return "true or false"
            case self.last.CPPTYPE_ENUM:
                return f"one of {', '.join(_choices(self.last))}"
            case self.last.CPPTYPE_DOUBLE:
                return "a number"
            case _:
                return "an integer"

    def set(self, request: AttentionRequest, parameter: InferParameter) -> None:
        """Set the field of a request to the value of a parameter; raises ValueError for one that it does not take."""
        choice = parameter.WhichOneof("parameter_choice")
        value = getattr(parameter, choice) if choice is not None else None
        try:
            if self.last.cpp_type == self.last.CPPTYPE_MESSAGE:
                if _boolean(value):
                    getattr(self.enclosing(request), self.last.name).SetInParent()
            else:
                setattr(self.enclosing(request), self.last.name, self._value(value))
        except (KeyError, ValueError, TypeError, OverflowError):
            raise ValueError(f"is {value!r}, expected {self.kind}") from None

    def _value(self, value: Any) -> bool | int | float:
        match self.last.cpp_type:
            case self.last.CPPTYPE_BOOL:
                return _boolean(value)
            case self.last.CPPTYPE_ENUM:
                return _choices(self.last)[_choice_name(self.last, value)]
            case _ if isinstance(value, bool):
                raise TypeError
            case self.last.CPPTYPE_DOUBLE:
                return float(value)
            case _:
                return int(value) if isinstance(value, str) else value  # which refuses fractions itself


def _boolean(value: Any) -> bool:
    """A boolean, or an integer that stands for one, as ONNX has them."""
    return {False: False, True: True}[value]


def _choices(field: FieldDescriptor) -> dict[str, int]:
    """The numbers of an enum by their names, without what all of them begin with."""
    unspecified, *choices = field.enum_type.values
    prefix = unspecified.name.removesuffix("UNSPECIFIED")
    return {choice.name.removeprefix(prefix): choice.number for choice in choices}


def _choice_name(field: FieldDescriptor, value: Any) -> str:
    prefix = field.enum_type.values[0].name.removesuffix("UNSPECIFIED")
    name = str(value).upper().removeprefix(prefix)
    return TYPE_NAMES.get(name, name) if field.enum_type is DataType.DESCRIPTOR else name


def _fields(message: Any, path: tuple[FieldDescriptor, ...] = ()) -> Iterator[Field]:
    for field in message.fields:
        here = (*path, field)
        if field.message_type in (None, Operand.DESCRIPTOR):
            yield Field(here)
            continue
        if field.name not in SECTIONS:
            yield Field(here)
        yield from _fields(field.message_type, here)


def _is_input(field: Field) -> bool:
    return field.last.message_type is Operand.DESCRIPTOR or field.last.is_repeated


FIELDS = [field for field in _fields(AttentionRequest.DESCRIPTOR) if field.name != OUTPUTS]
INPUTS = {field.name: field for field in FIELDS if _is_input(field)}
PARAMETERS = {field.name: field for field in FIELDS if not _is_input(field)}
