"""`qkv attend`: each option reaches its field of the request, and the answer is printed."""

import argparse
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from google.protobuf.message import Message

import qkv
from qkv import codec
from qkv.cli import attend, question
from qkv.v1 import attention_pb2, tensor_pb2

from .conftest import Asked, Run

QUERY = ("--query", "1 2; 3 4")
OPTIONS: dict[str, tuple[Sequence[str], str, Any]] = {
    "heads": (["2"], "multi_head.heads", 2),
    "kv_heads": (["1"], "multi_head.kv_heads", 1),
    "axis_order": (["sequence_first"], "multi_head.axis_order", attention_pb2.AXIS_ORDER_SEQUENCE_FIRST),
    "add_zero_attention": ([], "multi_head.add_zero_attention", True),
    "mask_polarity": (["true_hides"], "visibility.mask_polarity", attention_pb2.MASK_POLARITY_TRUE_HIDES),
    "causal": ([], "visibility.causal", True),
    "alignment": (["bottom_right"], "visibility.alignment", attention_pb2.ALIGNMENT_BOTTOM_RIGHT),
    "key_lengths": (["2", "1"], "visibility.key_lengths", [2, 1]),
    "query_lengths": (["0", "2"], "visibility.query_lengths", [0, 2]),
    "chunk_size": (["2"], "visibility.chunk_size", 2),
    "cumulative_query_lengths": (["0", "1", "2"], "visibility.cumulative_query_lengths", [0, 1, 2]),
    "cumulative_key_lengths": (["0", "0", "2"], "visibility.cumulative_key_lengths", [0, 0, 2]),
    "empty_row": (["mean_value"], "visibility.empty_row", attention_pb2.EMPTY_ROW_MEAN_VALUE),
    "scale": (["-0.5"], "scoring.scale", -0.5),
    "softcap": (["30"], "scoring.softcap", 30.0),
    "relative_bias_bidirectional": ([], "scoring.relative_bias.bidirectional", True),
    "relative_bias_max_distance": (["16"], "scoring.relative_bias.max_distance", 16),
    "softmax_axis": (["queries"], "scoring.softmax_axis", attention_pb2.SOFTMAX_AXIS_QUERIES),
    "softmax_precision": (["bfloat16"], "scoring.softmax_precision", tensor_pb2.DATA_TYPE_BFLOAT16),
    "log_base": (["two"], "scoring.log_base", attention_pb2.LOG_BASE_TWO),
    "path": (["tiled"], "path", attention_pb2.PATH_TILED),
    "outputs": (
        ["weights", "log_sum_exp"],
        "outputs",
        [attention_pb2.QUANTITY_WEIGHTS, attention_pb2.QUANTITY_LOG_SUM_EXP],
    ),
}
TESTED_APART = {"help", "window", "block_size", "alibi", "rotary", "dtype", "save"}
FIELDS = {  # of the arrays; what is not here is a field of its name of multi_head
    **{name: name for name in ("query", "key", "value", "past_key", "past_value")},
    **{name: f"visibility.{name}" for name in ("mask", "block_map")},
    "sinks": "scoring.sinks",
    "alibi_slopes": "scoring.alibi.slopes",
    "relative_bias_table": "scoring.relative_bias.table",
}


def flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def field(message: Any, path: str) -> Any:
    for name in path.split("."):
        message = getattr(message, name)
    return message


def operands_of(message: Message, prefix: str = "") -> dict[str, tensor_pb2.Operand]:
    """The operands that are set in a message and in those within it, by their paths."""
    found: dict[str, tensor_pb2.Operand] = {}
    for descriptor, value in message.ListFields():
        if isinstance(value, tensor_pb2.Operand):
            found[prefix + descriptor.name] = value
        elif isinstance(value, Message):
            found |= operands_of(value, f"{prefix}{descriptor.name}.")
    return found


def test_every_option_is_tested_here() -> None:
    """No option of the subcommand is left out of these tests."""
    parser = argparse.ArgumentParser()
    attend.add_arguments(parser)
    assert {action.dest for action in parser._actions} == {*OPTIONS, *question.ARRAYS, *TESTED_APART}


@pytest.mark.parametrize("name", OPTIONS)
def test_an_option_reaches_its_field(name: str, asked: Asked) -> None:
    """Each option sets its field of the request, which is not what the request has without it."""
    values, path, expected = OPTIONS[name]
    assert field(asked(*QUERY, flag(name), *values), path) == expected
    assert field(asked(*QUERY), path) != expected


@pytest.mark.parametrize("name", [name for name in question.ARRAYS if name != "query"])
def test_an_array_reaches_its_field(name: str, asked: Asked) -> None:
    """Each array is the operand of its name, and no other is set but the query."""
    operands = operands_of(asked(*QUERY, flag(name), "5 6 7"))
    path = FIELDS.get(name, f"multi_head.{name}")
    assert set(operands) == {"query", path}
    assert codec.from_operand(operands[path], name).tolist() == [[5.0, 6.0, 7.0]]


@pytest.mark.parametrize(
    ("bounds", "left", "right"),
    [(("1", "2"), 1, 2), (("none", "0"), None, 0), (("0", "none"), 0, None), (("none", "none"), None, None)],
)
def test_a_window_may_be_open(bounds: tuple[str, str], left: int | None, right: int | None, asked: Asked) -> None:
    """--window takes two numbers, and `none` for a side without a bound."""
    visibility = asked(*QUERY, "--window", *bounds).visibility
    assert (visibility.window_left if visibility.HasField("window_left") else None) == left
    assert (visibility.window_right if visibility.HasField("window_right") else None) == right


@pytest.mark.parametrize(("typed", "sizes"), [(["2"], (2, 2)), (["2", "3"], (2, 3))], ids=str)
def test_a_block_may_be_square(typed: Sequence[str], sizes: tuple[int, int], asked: Asked) -> None:
    """--block-size takes the queries and the keys of a block, or one number for both."""
    visibility = asked(*QUERY, "--block-map", "[[true]]", "--block-size", *typed).visibility
    assert (visibility.query_block_size, visibility.key_block_size) == sizes


def test_alibi_has_slopes_or_the_papers(asked: Asked) -> None:
    """--alibi asks for the paper's slopes; slopes that are given need no more to be asked for."""
    assert not asked(*QUERY).scoring.HasField("alibi")
    assert asked(*QUERY, "--alibi").scoring.HasField("alibi")
    assert not asked(*QUERY, "--alibi").scoring.alibi.HasField("slopes")
    assert asked(*QUERY, "--alibi-slopes", "[0.5]").scoring.alibi.HasField("slopes")
    assert asked(*QUERY, "--alibi", "--alibi-slopes", "[0.5]").scoring.alibi.HasField("slopes")


def test_rotary_is_json_with_the_names_of_the_contract(asked: Asked) -> None:
    """--rotary sets each field by its name, a scaling within; an empty object asks for the defaults."""
    assert not asked(*QUERY).HasField("rotary")
    assert asked(*QUERY, "--rotary", "{}").HasField("rotary")
    typed = (
        '{"base": 500000, "pairing": "interleaved", "query_positions": [7, 8], '
        '"longrope": {"short_factors": [1], "long_factors": [2.5], "original_length": 8}}'
    )
    rotary = asked(*QUERY, "--rotary", typed).rotary
    assert (rotary.base, rotary.pairing) == (500000.0, attention_pb2.ROTARY_PAIRING_INTERLEAVED)
    positions = codec.from_operand(rotary.query_positions, "query_positions")
    assert positions.dtype == np.int64
    assert positions.tolist() == [7, 8]
    assert rotary.WhichOneof("scaling") == "longrope"
    scaling = rotary.longrope
    assert (list(scaling.short_factors), list(scaling.long_factors), scaling.original_length) == ([1.0], [2.5], 8)


def test_projections_need_no_number_of_heads(asked: Asked) -> None:
    """With a projection and nothing said of heads there is one; with heads there are as many."""
    assert asked(*QUERY, "--query-weight", "1 0; 0 1").multi_head.heads == 1
    assert asked(*QUERY, "--query-weight", "1 0; 0 1", "--heads", "2").multi_head.heads == 2
    assert asked(*QUERY).multi_head.heads == 0


def test_projections_are_computed(run: Run, client: qkv.Client) -> None:
    """Weights and biases go through to the arithmetic, as Client.multi_head_attention has it."""
    weights = {"query_weight": "1 2; 3 4", "key_weight": "0 1; 1 0", "value_weight": "2 0; 0 2", "output_weight": "1 1"}
    biases = {"query_bias": "[1, 2]", "key_bias": "[0, 1]", "value_bias": "[3, 4]", "output_bias": "[5]"}
    typed = {**weights, **biases}
    arrays: dict[str, Any] = {
        "query_weight": [[1, 2], [3, 4]],
        "key_weight": [[0, 1], [1, 0]],
        "value_weight": [[2, 0], [0, 2]],
        "output_weight": [[1, 1]],
        "query_bias": [1, 2],
        "key_bias": [0, 1],
        "value_bias": [3, 4],
        "output_bias": [5],
    }
    expected = client.multi_head_attention([[1, 2], [3, 4]], heads=2, **arrays).output
    ran = run("attend", *QUERY, "--heads", "2", *(part for name, text in typed.items() for part in (flag(name), text)))
    assert (ran.status, ran.err) == (0, "")
    shown = ran.out.partition("output: float64 (2, 1)\n")[2]
    numbers = [float(number) for number in re.findall(r"\d+\.\d*", shown)]
    np.testing.assert_allclose(numbers[:2], expected.ravel(), rtol=1e-6)


def test_prints_every_array_of_the_answer(run: Run) -> None:
    """Each array is printed under its name, its type and its shape, and how it was computed comes last."""
    ran = run("attend", "--query", "0 0; 0 0", "--value", "1 2; 3 5", "--outputs", "weights", "log_sum_exp")
    assert (ran.status, ran.err) == (0, "")
    answer, arithmetic = ran.out.rsplit("\n\n", 1)
    assert answer.split("\n\n") == [
        "output: float64 (2, 2)\n[[2.  3.5]\n [2.  3.5]]",
        "weights: float64 (2, 2)\n[[0.5 0.5]\n [0.5 0.5]]",
        "log_sum_exp: float64 (2,)\n[0.693147 0.693147]",
    ]
    assert re.fullmatch(r"path decode, arithmetic \d+\.\d\d ms\n", arithmetic)


def test_prints_the_middle_of_large_arrays_as_dots(run: Run) -> None:
    """An answer of many numbers is not printed in full."""
    ran = run("attend", "--query", str([[0.0] * 30] * 30))
    assert "..." in ran.out
    assert len(ran.out) < 2000
