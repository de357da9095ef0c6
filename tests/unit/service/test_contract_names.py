"""The core and the contract name the same things by the same names, so that reading a request is no translation."""

import dataclasses
from enum import Enum
from typing import Any

import pytest
from google.protobuf.message import Message

from qkv.v1 import attention_pb2
from qkv.v1.tensor_pb2 import Operand
from qkv_server import core

ENUMS = (
    core.Alignment,
    core.AxisOrder,
    core.EmptyRow,
    core.LogBase,
    core.MaskPolarity,
    core.Path,
    core.Quantity,
    core.SoftmaxAxis,
)
MESSAGES: dict[type[Any], type[Message]] = {
    core.MultiHead: attention_pb2.MultiHead,
    core.Visibility: attention_pb2.Visibility,
    core.Scoring: attention_pb2.Scoring,
    core.Problem: attention_pb2.AttentionRequest,
    core.Answer: attention_pb2.AttentionResponse,
}
NOT_OF_THE_CORE = {  # which version answers is the service's to say, and the answer's path stands in the report
    core.Problem: {"semantics_version"},
    core.Answer: {"semantics_version", "report"},
}
NOT_OF_THE_CONTRACT = {core.Answer: {"path"}}


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


@pytest.mark.parametrize("meaning", MESSAGES, ids=lambda meaning: meaning.__name__)
def test_fields_have_the_names_of_the_contract(meaning: type[Any]) -> None:
    """Each field of a message is a field of what it means in the core, and the other way round."""
    of_the_contract = set(MESSAGES[meaning].DESCRIPTOR.fields_by_name) - NOT_OF_THE_CORE.get(meaning, set())
    of_the_core = {field.name for field in dataclasses.fields(meaning)} - NOT_OF_THE_CONTRACT.get(meaning, set())
    assert of_the_contract == of_the_core


def test_each_quantity_is_a_field_of_the_answer() -> None:
    """What a caller asks for by a Quantity comes back in the field of that name."""
    fields = attention_pb2.AttentionResponse.DESCRIPTOR.fields_by_name
    for quantity in core.Quantity:
        assert quantity.value == quantity.name.lower()
        assert fields[quantity.value].message_type is Operand.DESCRIPTOR
