"""What the suite is worth: the server passes it, the whole contract is in it, and no option is without effect."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from google.protobuf.message import Message

import qkv
from qkv import codec, vectors
from qkv.v1 import tensor_pb2
from qkv.v1.attention_pb2 import DifferentiateResponse
from qkv.v1.tensor_pb2 import Operand
from qkv.vectors.answering import in_float64
from qkv.vectors.cases import IN_EVERY_TYPE, TYPES, select
from qkv.vectors.checking import what_is_wrong
from qkv.vectors.operands import field_at, operand_at, operands
from qkv.vectors.reading import read
from qkv.vectors.vector import KINDS, Vector

WITHOUT_EFFECT = {  # that are there for other implementations, which could give them one
    "sinks": "visibility.empty_row",  # a row with a sink is not empty
    "cache_decode": "visibility.causal",  # one query at the last key
    "model_decode": "visibility.causal",
    "gradient_projections": "attention.multi_head.output_bias",  # a constant
    **{f"path_{path}": "path" for path in ("reference", "batched", "tiled", "decode")},
}


@pytest.fixture(scope="module")
def every_vector(suite: Path) -> list[Vector]:
    return list(read(suite))


def test_the_server_passes_every_case(suite: Path, client: qkv.Client) -> None:
    """Each case of the suite, asked in its own type, is answered within its tolerance, or refused as it says."""
    outcomes = list(vectors.check(client, suite))
    assert [outcome for outcome in outcomes if outcome.wrong] == []
    assert [outcome.name for outcome in outcomes] == [case.name for case in select()]
    assert len(outcomes) > len(TYPES) * len(IN_EVERY_TYPE)


def test_every_field_of_the_contract_is_in_a_request(every_vector: list[Vector]) -> None:
    """No field of the three requests, however deep, is left out of all cases."""
    used = {place for vector in every_vector for place in _fields(vector.request)}
    every = {place for kind in KINDS.values() for place in _fields_of(kind.request.DESCRIPTOR)}
    assert every - used == set()


def test_every_named_choice_of_the_contract_is_in_a_request(every_vector: list[Vector]) -> None:
    """No enum value but UNSPECIFIED is left out of all cases."""
    used = {choice for vector in every_vector for choice in _choices(vector.request)}
    enums = {enum for kind in KINDS.values() for enum in _enums_of(kind.request.DESCRIPTOR)}
    named = {(enum.full_name, value.name) for enum in enums for value in enum.values if value.number}
    assert named - used == set()


def test_every_array_of_the_responses_is_expected_somewhere(every_vector: list[Vector]) -> None:
    """Each operand field of the three responses is compared in a case."""
    for method, kind in KINDS.items():
        response = kind.method.response_type.DESCRIPTOR
        fields = {field.name for field in response.fields if field.message_type is Operand.DESCRIPTOR}
        assert fields == {name for each in every_vector if each.method == method for name in each.expected}
    assert "d_sinks" in {field.name for field in DifferentiateResponse.DESCRIPTOR.fields}


@pytest.mark.parametrize("dtype", ["bfloat16", "matrix"])
def test_no_option_is_without_effect(dtype: str, suite: Path, client: qkv.Client) -> None:
    """A server that ignored any one option of a case would fail it, also where the tolerance is widest."""
    passed = []
    for vector in read(suite, [f"{dtype}/*"]):
        for path in _leaves(vector.request):
            ignored = replace(vector, request=_without(vector.request, path))
            needed = path in ("query", "outputs") or vector.name.endswith("defaults_said")
            if not needed and not what_is_wrong(client, ignored):
                passed.append((vector.name.partition("/")[2], path))
    assert dict(passed) == (WITHOUT_EFFECT if dtype == "bfloat16" else {})
    assert len(passed) == len(dict(passed))


def test_asking_in_float64_changes_no_number(every_vector: list[Vector]) -> None:
    """What the server is asked for the expected values has the operands of the case, element for element."""
    widened = 0
    for vector in every_vector:
        if vector.refusal is None:
            wide = in_float64(vector.request)
            for path, operand in operands(vector.request):
                given, asked = codec.from_operand(operand, path), codec.from_operand(operand_at(wide, path), path)
                np.testing.assert_array_equal(asked.astype(np.float64), given.astype(np.float64))
                assert asked.shape == given.shape
                floating = given.dtype.name in TYPES
                assert asked.dtype == (np.float64 if floating else given.dtype)
                widened += given.dtype != asked.dtype
    assert widened > 100


def test_tolerances_go_by_the_type(every_vector: list[Vector]) -> None:
    """No array may differ by more than 2 % of its largest element, one of float64 hardly at all."""
    for vector in every_vector:
        for expected in vector.expected.values():
            largest = np.abs(expected.array[np.isfinite(expected.array)]).max()
            assert 0 < expected.absolute <= 2**-6 * largest
            if vector.name.startswith("float64/") and "softmax_precision" not in vector.name:
                assert expected.absolute <= 1e-12 * largest


def test_narrow_answers_are_told_to_be_narrow(every_vector: list[Vector]) -> None:
    """The output has the type of the case, its log-sum-exp that of the softmax."""
    for vector in every_vector:
        group, _, name = vector.name.partition("/")
        for field, expected in vector.expected.items():
            if group in TYPES and name != "softmax_precision":
                wide = field == "log_sum_exp" and group != "float64"
                assert expected.data_type == codec.data_type(np.dtype("float32" if wide else group))


def test_booleans_and_integers_of_every_type_are_in_the_suite(every_vector: list[Vector]) -> None:
    """Tensors of all nine types are among the operands."""
    found = {operand.tensor.data_type for vector in every_vector for _, operand in operands(vector.request)}
    assert set(tensor_pb2.DataType.values()) - found == set()


def _fields(message: Message) -> Iterator[tuple[str, str]]:
    """Each field that is set, by its message and name."""
    for field, content in message.ListFields():
        yield message.DESCRIPTOR.full_name, field.name
        if field.message_type is not None:
            for inner in [content] if isinstance(content, Message) else content:
                yield from _fields(inner)


def _fields_of(descriptor: Any) -> Iterator[tuple[str, str]]:
    for field in descriptor.fields:
        yield descriptor.full_name, field.name
        if field.message_type is not None:
            yield from _fields_of(field.message_type)


def _enums_of(descriptor: Any) -> Iterator[Any]:
    for field in descriptor.fields:
        if field.enum_type is not None:
            yield field.enum_type
        if field.message_type is not None:
            yield from _enums_of(field.message_type)


def _choices(message: Message) -> Iterator[tuple[str, str]]:
    """Each enum value that is set, by its enum and name."""
    for field, content in message.ListFields():
        numbers = [content] if field.enum_type is not None and isinstance(content, int) else content
        if field.enum_type is not None:
            for number in numbers:
                if number in field.enum_type.values_by_number:
                    yield field.enum_type.full_name, field.enum_type.values_by_number[number].name
        elif field.message_type is not None:
            for inner in [content] if isinstance(content, Message) else content:
                yield from _choices(inner)


def _leaves(message: Message, path: str = "") -> Iterator[str]:
    """The paths of what is set: operands, and what is not made of other fields. None within repeated fields."""
    for field, content in message.ListFields():
        name = f"{path}{field.name}"
        if isinstance(content, Message) and not isinstance(content, Operand) and content.ListFields():
            yield from _leaves(content, f"{name}.")
        else:
            yield name


def _without(message: Message, path: str) -> Message:
    rest = type(message)()
    rest.CopyFrom(message)
    enclosing, name = field_at(rest, path)
    enclosing.ClearField(name)
    return rest
