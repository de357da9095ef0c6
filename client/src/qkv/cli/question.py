"""The question of `qkv attend`: its arguments on the command line, and the arguments of the client that they become."""

import argparse
import json
from typing import Any, get_args

import numpy as np

from qkv._options import (
    AlignmentName,
    AxisOrderName,
    EmptyRowName,
    LogBaseName,
    MaskPolarityName,
    PathName,
    Projections,
    SoftmaxAxisName,
)
from qkv.cli import arrays

PROJECTIONS = tuple(name for name in Projections.__annotations__ if name != "add_zero_attention")
OPERANDS = ("query", "key", "value", "mask", "past_key", "past_value", *PROJECTIONS, "block_map", "sinks")
ARRAYS = (*OPERANDS, "alibi_slopes", "relative_bias_table")
SHAPES = {
    "mask": "true or false, or numbers to add: queries × keys",
    "block_map": "true or false: blocks of queries × blocks of keys",
    "sinks": "a score for each head that takes weight from every key",
    "alibi_slopes": "a slope for each head",
    "relative_bias_table": "biases by distance: buckets × heads",
}
PLAIN = (
    "heads",
    "kv_heads",
    "causal",
    "scale",
    "softcap",
    "chunk_size",
    "key_lengths",
    "query_lengths",
    "cumulative_query_lengths",
    "cumulative_key_lengths",
    "block_size",
    "softmax_precision",
)
CHOICES: dict[str, Any] = {
    "axis_order": AxisOrderName,
    "mask_polarity": MaskPolarityName,
    "alignment": AlignmentName,
    "empty_row": EmptyRowName,
    "softmax_axis": SoftmaxAxisName,
    "log_base": LogBaseName,
    "path": PathName,
}
FLOATING = ("float64", "float32", "float16", "bfloat16")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the question."""
    inputs = parser.add_argument_group("arrays", arrays.SOURCES)
    for name in ARRAYS:
        inputs.add_argument(f"--{_dashed(name)}", required=name == "query", metavar="ARRAY", help=SHAPES.get(name))
    inputs.add_argument("--dtype", choices=FLOATING, help="convert every floating array to this type first")
    options = parser.add_argument_group("options, as protos/qkv/v1/attention.proto says them")
    options.add_argument("--heads", type=int, metavar="H")
    options.add_argument("--kv-heads", type=int, metavar="H")
    options.add_argument("--add-zero-attention", action="store_true")
    _add_visibility(options)
    _add_scoring(options)
    for name, choice in CHOICES.items():
        options.add_argument(f"--{_dashed(name)}", choices=get_args(choice))


def arguments_of(options: argparse.Namespace) -> tuple[dict[str, Any], bool]:
    """The arguments of the client's method, and whether it is multi_head_attention, which takes projections."""
    call: dict[str, Any] = {name: _array(name, options) for name in OPERANDS if getattr(options, name) is not None}
    call |= {name: value for name in (*PLAIN, *CHOICES) if (value := getattr(options, name)) is not None}
    if options.window is not None:
        call["window"] = tuple(_bound(text) for text in options.window)
    if "block_size" in call:
        call["block_size"] = options.block_size if len(options.block_size) > 1 else options.block_size[0]
    if options.alibi_slopes is not None:
        call["alibi"] = _array("alibi_slopes", options)
    elif options.alibi:
        call["alibi"] = True
    if bias := _relative_bias(options):
        call["relative_bias"] = bias
    if options.rotary is not None:
        call["rotary"] = _rotary(options.rotary)
    projected = options.add_zero_attention or not call.keys().isdisjoint(PROJECTIONS)
    if projected:
        call.setdefault("heads", 1)
        call["add_zero_attention"] = options.add_zero_attention
        if call.pop("axis_order", None) is not None:
            raise ValueError("--axis-order: is for rank 4, which has no projections")
    return call, projected


def _add_visibility(group: "argparse._ArgumentGroup") -> None:
    group.add_argument("--causal", action="store_true", default=None)
    group.add_argument("--window", nargs=2, metavar=("LEFT", "RIGHT"), help="keys before and after; `none` is all")
    group.add_argument("--chunk-size", type=int, metavar="N", help="see only the keys of one's own N positions")
    group.add_argument("--key-lengths", type=int, nargs="+", metavar="N")
    group.add_argument("--query-lengths", type=int, nargs="+", metavar="N")
    group.add_argument(
        "--cumulative-query-lengths",
        type=int,
        nargs="+",
        metavar="N",
        help="where packed sequences begin and end, from 0 to the number of queries: `0 3 7` are two, of 3 and 4",
    )
    group.add_argument(
        "--cumulative-key-lengths",
        type=int,
        nargs="+",
        metavar="N",
        help="the same for the keys (default: as the queries)",
    )
    group.add_argument(
        "--block-size",
        type=int,
        nargs="+",
        metavar="N",
        help="of the block map: the queries and the keys of a block, or one number for both",
    )


def _add_scoring(group: "argparse._ArgumentGroup") -> None:
    group.add_argument("--scale", type=float)
    group.add_argument("--softcap", type=float)
    group.add_argument("--softmax-precision", choices=FLOATING)
    group.add_argument(
        "--alibi", action="store_true", help="linear biases, with the paper's slopes unless slopes are given"
    )
    group.add_argument(
        "--relative-bias-bidirectional",
        action="store_true",
        default=None,
        help="of the table: keys after the position have the second half of the buckets",
    )
    group.add_argument(
        "--relative-bias-max-distance",
        type=int,
        metavar="N",
        help="distances from here on share a bucket (default: 128)",
    )
    group.add_argument(
        "--rotary",
        metavar="JSON",
        help='rotary embedding: {}, or {"base": 500000, "pairing": "interleaved", "query_positions": [7], '
        '"yarn": {"factor": 4, "original_length": 4096}}, with the names of the message Rotary',
    )


def _relative_bias(options: argparse.Namespace) -> dict[str, Any]:
    given = {
        "table": None if options.relative_bias_table is None else _array("relative_bias_table", options),
        "bidirectional": options.relative_bias_bidirectional,
        "max_distance": options.relative_bias_max_distance,
    }
    return {name: value for name, value in given.items() if value is not None}


def _rotary(text: str) -> dict[str, Any]:
    try:
        content = json.loads(text)
    except ValueError as error:
        raise ValueError(f"--rotary: is no JSON ({error})") from error
    if not isinstance(content, dict):
        raise ValueError("--rotary: expected an object of names and values, as '{\"base\": 500000}'")
    return content


def _array(name: str, options: argparse.Namespace) -> arrays.Array:
    array = arrays.read(getattr(options, name), _dashed(name))
    if options.dtype is not None and array.dtype != np.bool_:
        array = array.astype(options.dtype)  # NumPy knows bfloat16 by ml_dtypes, which registers it
    return array


def _bound(text: str) -> int | None:
    try:
        return None if text == "none" else int(text)
    except ValueError:
        raise ValueError(f"--window: {text!r} is no whole number, nor `none`") from None


def _dashed(name: str) -> str:
    return name.replace("_", "-")
