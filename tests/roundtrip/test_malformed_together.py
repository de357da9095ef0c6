"""Requests that are wrong in several places: all are told at once, as far as gRPC's trailers can carry them."""

import numpy as np
import pytest
from refusals import Attend, assert_invalid, assert_still_answers, refusal_of
from roundtrip.malformed import SHAPES, base, operand
from roundtrip.malformed_options import asked, rank_4, with_shape, with_value

from qkv import codec
from qkv.v1.attention_pb2 import AttentionRequest

NAN = float("nan")


def fields_of(attend: Attend, request: AttentionRequest) -> list[str]:
    """The fields that are named when the request is refused, sorted."""
    refusal = refusal_of(lambda: attend(request))
    assert_invalid(refusal)
    assert_still_answers(attend)
    return sorted(refusal.fields)


def spoil_options(request: AttentionRequest) -> list[str]:
    """Make every option wrong that is wrong whatever the operands are, and return their fields."""
    request.semantics_version = 999
    with_value("outputs", [99, 0, 98])(request)
    enums = (
        "multi_head.axis_order",
        "visibility.mask_polarity",
        "visibility.alignment",
        "visibility.empty_row",
        "scoring.softmax_axis",
        "scoring.softmax_precision",
        "scoring.log_base",
        "rotary.pairing",
        "path",
    )
    for path in enums:
        with_value(path, 77)(request)
    numbers = (
        "visibility.window_left",
        "visibility.window_right",
        "visibility.chunk_size",
        "scoring.scale",
        "scoring.softcap",
        "rotary.base",
        "rotary.sequence_length",
        "rotary.yarn.factor",
        "rotary.yarn.original_length",
        "rotary.yarn.beta_fast",
    )
    for path in numbers:
        with_value(path, -1 if path not in ("scoring.scale", "scoring.softcap") else NAN)(request)
    request.visibility.query_block_size = 2
    request.visibility.cumulative_key_lengths.append(0)
    needed = ["visibility.block_map", "visibility.cumulative_query_lengths"]
    return ["semantics_version", "outputs", *numbers, *needed, *enums]


def test_every_operand_of_a_wrong_type_is_told(attend: Attend) -> None:
    """Sixteen operands of a type that attention does not know are sixteen violations."""
    request = base()
    for path, shape in SHAPES.items():
        operand(request, path).tensor.CopyFrom(codec.to_tensor(np.zeros(shape, np.int8)))
    assert fields_of(attend, request) == sorted(SHAPES)


def test_every_operand_without_its_data_is_told(attend: Attend) -> None:
    """Sixteen operands without data are sixteen violations, each of the data."""
    request = base()
    for path in SHAPES:
        operand(request, path).tensor.ClearField("data")
    assert fields_of(attend, request) == sorted(f"{path}.tensor.data" for path in SHAPES)


def test_every_wrong_option_is_told(attend: Attend) -> None:
    """Options that are wrong in themselves are a violation each, a list among them once."""
    request = base()
    spoilt = spoil_options(request)
    assert fields_of(attend, request) == sorted(spoilt)


@pytest.mark.parametrize("query", ["unset", "without a source", "of negative shape"])
def test_wrong_options_are_told_when_shapes_are_not_known(query: str, attend: Attend) -> None:
    """A query that is missing or has no shape hides no option that is wrong in itself."""
    request = base()
    blamed = {"unset": "query", "without a source": "query", "of negative shape": "query.tensor.shape"}[query]
    match query:
        case "unset":
            request.ClearField("query")
        case "without a source":
            request.query.Clear()
        case _:
            request.query.tensor.shape[0] = -1
    spoilt = spoil_options(request)
    assert fields_of(attend, request) == sorted([blamed, *spoilt])


def test_wrong_scales_are_told_when_shapes_do_not_fit(attend: Attend) -> None:
    """Operands that do not fit together hide no number that is wrong in itself."""
    request = asked((3, 4), (3, 5), (2, 4))
    request.scoring.scale = request.scoring.softcap = NAN
    assert fields_of(attend, request) == ["key", "scoring.scale", "scoring.softcap", "value"]


def test_what_does_not_fit_is_told_beside_what_is_no_operand(attend: Attend) -> None:
    """An operand whose elements are wrong still has a shape, against which the others are checked."""
    request = rank_4()
    request.query.tensor.data = request.query.tensor.data[:-1]
    with_value("key.tensor.data_type", 99)(request)
    with_shape("visibility.mask", 2, 3, 4)(request)
    request.visibility.query_lengths.extend((1, 2, 3))
    expected = ["key.tensor.data_type", "query.tensor.data", "visibility.mask", "visibility.query_lengths"]
    assert fields_of(attend, request) == expected


def test_a_field_is_told_once(attend: Attend) -> None:
    """An operand that is wrong in two ways, in its bytes and for its place, is one violation of its bytes."""
    request = rank_4()
    with_shape("key", 3, 3)(request)
    request.key.tensor.data += b"\0"
    assert fields_of(attend, request) == ["key.tensor.data"]


def test_as_many_violations_as_there_can_be_come_through(attend: Attend) -> None:
    """Everything wrong at once fits gRPC's trailers: the first violations in full, and how many more there are."""
    request = base()
    everything = spoil_options(request)
    for path in SHAPES:
        tensor = operand(request, path).tensor
        with_value(f"{path}.tensor.data_type", 99)(request)
        tensor.shape.append(-(2**63))
        everything += [f"{path}.tensor.data_type", f"{path}.tensor.shape"]
    refusal = refusal_of(lambda: attend(request))
    assert_invalid(refusal)
    *told, (field, rest) = refusal.violations
    assert field == "request"
    assert int(rest.split()[0]) == len(everything) - len(told)
    assert len(told) >= 20
    assert {field for field, _ in told} < set(everything)
    assert_still_answers(attend)


def test_the_longest_descriptions_come_through(attend: Attend) -> None:
    """Shapes of 64 huge axes in every operand do not outgrow gRPC's trailers."""
    request = base()
    for path in SHAPES:
        operand(request, path).tensor.shape[:] = [2**63 - 1] * 64
    refusal = refusal_of(lambda: attend(request))
    assert_invalid(refusal)
    assert all("tensor.shape" in field or field == "request" for field in refusal.fields)
    assert_still_answers(attend)
