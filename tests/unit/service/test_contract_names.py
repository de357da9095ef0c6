"""The core and the contract name the same things by the same names, so that reading a request is no translation."""

import dataclasses
from enum import Enum
from typing import Any

import pytest
from google.protobuf.message import Message

from qkv.v1 import attention_pb2
from qkv.v1.tensor_pb2 import Operand
from qkv_server import core
from qkv_server.service.differentiate import OPERANDS
from qkv_server.service.rotary import SCALINGS

ENUMS = (
    core.Alignment,
    core.AxisOrder,
    core.EmptyRow,
    core.LogBase,
    core.MaskPolarity,
    core.Path,
    core.Quantity,
    core.RotaryPairing,
    core.SoftmaxAxis,
)
MESSAGES: dict[type[Any], type[Message]] = {
    core.MultiHead: attention_pb2.MultiHead,
    core.Visibility: attention_pb2.Visibility,
    core.Scoring: attention_pb2.Scoring,
    core.Alibi: attention_pb2.Alibi,
    core.RelativeBias: attention_pb2.RelativeBias,
    core.Rotary: attention_pb2.Rotary,
    core.LinearScaling: attention_pb2.LinearScaling,
    core.DynamicNtkScaling: attention_pb2.DynamicNtkScaling,
    core.YarnScaling: attention_pb2.YarnScaling,
    core.LongRopeScaling: attention_pb2.LongRopeScaling,
    core.Llama3Scaling: attention_pb2.Llama3Scaling,
    core.PartialResult: attention_pb2.PartialResult,
    core.Gradients: attention_pb2.DifferentiateResponse,
    core.Problem: attention_pb2.AttentionRequest,
    core.Answer: attention_pb2.AttentionResponse,
}
NOT_OF_THE_CORE = {  # which version answers is the service's to say, and the answer's path stands in the report
    core.Problem: {"semantics_version"},
    core.Answer: {"semantics_version", "report"},
    core.Gradients: {"semantics_version", "report"},
}
NOT_OF_THE_CONTRACT = {core.Answer: {"path"}, core.Gradients: {"path"}}


def names(contract: Any, prefix: str) -> list[str]:
    """The names of an enum of the contract, in the order of their numbers, without the one that means unset."""
    values = contract.DESCRIPTOR.values_by_number
    return [values[number].name.removeprefix(prefix) for number in sorted(values) if number]


@pytest.mark.parametrize("enum", ENUMS, ids=lambda enum: enum.__name__)
def test_enums_have_the_names_of_the_contract(enum: type[Enum]) -> None:
    """Each enum of the core has the values of the contract's, in their order, without UNSPECIFIED."""
    contract = getattr(attention_pb2, enum.__name__)
    prefix = contract.Name(0).removesuffix("UNSPECIFIED")
    assert names(contract, prefix) == list(enum.__members__)


def test_every_enum_of_the_contract_is_one_of_the_core() -> None:
    """No choice of the contract is left out of the core."""
    assert set(attention_pb2.DESCRIPTOR.enum_types_by_name) == {enum.__name__ for enum in ENUMS}


def fields_of(message: type[Message]) -> set[str]:
    """The names of the fields of a message; of those of a oneof only its own."""
    fields = message.DESCRIPTOR.fields
    return {field.name for field in fields if not field.containing_oneof or is_optional(field)} | {
        oneof.name for oneof in message.DESCRIPTOR.oneofs if not is_optional(oneof.fields[0])
    }


def is_optional(field: Any) -> bool:
    """Whether a field of a oneof is declared `optional`, which protobuf sees as a oneof of one, _name."""
    return bool(field.containing_oneof.name == f"_{field.name}")


@pytest.mark.parametrize("meaning", MESSAGES, ids=lambda meaning: meaning.__name__)
def test_fields_have_the_names_of_the_contract(meaning: type[Any]) -> None:
    """Each field of a message, or oneof, is a field of what it means in the core, and the other way round."""
    of_the_contract = fields_of(MESSAGES[meaning]) - NOT_OF_THE_CORE.get(meaning, set())
    of_the_core = {field.name for field in dataclasses.fields(meaning)} - NOT_OF_THE_CONTRACT.get(meaning, set())
    assert of_the_contract == of_the_core


def test_every_message_of_the_contract_is_one_of_the_core() -> None:
    """No message of the contract is left out of the core, but for those that say how calls are asked and answered."""
    of_calls = {f"{name}{kind}" for name in ("Merge", "Differentiate") for kind in ("Request", "Response")} | {"Report"}
    tested = {message.DESCRIPTOR.name for message in MESSAGES.values()}
    assert tested | of_calls == set(attention_pb2.DESCRIPTOR.message_types_by_name)


def test_every_scaling_of_the_contract_is_one_of_the_core() -> None:
    """Each choice of rotary.scaling is read as the class that has the name of its message."""
    (oneof,) = attention_pb2.Rotary.DESCRIPTOR.oneofs
    assert [field.name for field in oneof.fields] == list(SCALINGS)
    for field in oneof.fields:
        assert field.message_type is MESSAGES[SCALINGS[field.name]].DESCRIPTOR


def test_gradients_are_of_operands_of_the_call() -> None:
    """Each gradient is that of the operand whose name stands after its d_."""
    gradients = {field.name for field in dataclasses.fields(core.Gradients)} - {"path"}
    assert gradients == set(OPERANDS)
    assert all(path.rpartition(".")[2] == name.removeprefix("d_") for name, path in OPERANDS.items())


def test_each_quantity_is_a_field_of_the_answer() -> None:
    """What a caller asks for by a Quantity comes back in the field of that name."""
    fields = attention_pb2.AttentionResponse.DESCRIPTOR.fields_by_name
    for quantity in core.Quantity:
        assert quantity.value == quantity.name.lower()
        assert fields[quantity.value].message_type is Operand.DESCRIPTOR
