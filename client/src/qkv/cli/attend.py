"""Ask one attention call with arrays that are typed or read from files.

Examples:
  qkv attend --query '1 0; 0 1' --outputs weights
  qkv attend --query q.npy --key k.npy --value v.npy --causal --save answer.npz
  qkv attend --query all.safetensors --key all.safetensors --value all.safetensors --heads 8

"""

import argparse
from pathlib import Path
from typing import Any, get_args

import numpy as np

from qkv import AttentionResult, Client
from qkv._options import (
    AlignmentName,
    AxisOrderName,
    EmptyRowName,
    LogBaseName,
    MaskPolarityName,
    PathName,
    QuantityName,
    SoftmaxAxisName,
)
from qkv.cli import arrays

NAME = "attend"
HELP = "ask one attention call with arrays typed or from files"

PROJECTIONS = tuple(f"{name}_{kind}" for name in ("query", "key", "value", "output") for kind in ("weight", "bias"))
EXTRAS = ("extra_key", "extra_value")
ARRAYS = ("query", "key", "value", "mask", "past_key", "past_value", *PROJECTIONS, *EXTRAS)
PLAIN = (
    "heads",
    "kv_heads",
    "causal",
    "scale",
    "softcap",
    "key_lengths",
    "query_lengths",
    "softmax_precision",
    "outputs",
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
    """Declare the arguments of the subcommand."""
    inputs = parser.add_argument_group("arrays", arrays.SOURCES)
    for name in ARRAYS:
        inputs.add_argument(f"--{_dashed(name)}", required=name == "query", metavar="ARRAY")
    inputs.add_argument("--dtype", choices=FLOATING, help="convert every floating array to this type first")
    options = parser.add_argument_group("options, as protos/qkv/v1/attention.proto says them")
    options.add_argument("--heads", type=int, metavar="H")
    options.add_argument("--kv-heads", type=int, metavar="H")
    options.add_argument("--causal", action="store_true", default=None)
    options.add_argument("--window", nargs=2, metavar=("LEFT", "RIGHT"), help="keys before and after; `none` is all")
    options.add_argument("--key-lengths", type=int, nargs="+", metavar="N")
    options.add_argument("--query-lengths", type=int, nargs="+", metavar="N")
    options.add_argument("--scale", type=float)
    options.add_argument("--softcap", type=float)
    options.add_argument("--softmax-precision", choices=FLOATING)
    options.add_argument("--add-zero-attention", action="store_true")
    for name, choice in CHOICES.items():
        options.add_argument(f"--{_dashed(name)}", choices=get_args(choice))
    answers = parser.add_argument_group("answers")
    answers.add_argument(
        "--outputs",
        nargs="+",
        choices=get_args(QuantityName),
        metavar="QUANTITY",
        help=", ".join(get_args(QuantityName)),
    )
    answers.add_argument("--save", type=Path, metavar="FILE", help="save the arrays instead of printing them")


def run(client: Client, options: argparse.Namespace) -> int:
    """Ask the call and print or save what comes back."""
    call: dict[str, Any] = {name: _array(name, options) for name in ARRAYS if getattr(options, name) is not None}
    projected = options.add_zero_attention or not call.keys().isdisjoint((*PROJECTIONS, *EXTRAS))
    call |= {name: value for name in (*PLAIN, *CHOICES) if (value := getattr(options, name)) is not None}
    if options.window is not None:
        call["window"] = tuple(_bound(text) for text in options.window)
    if projected:
        call.setdefault("heads", 1)
        call["add_zero_attention"] = options.add_zero_attention
        if call.pop("axis_order", None) is not None:
            raise ValueError("--axis-order: is for rank 4, which has no projections")
    if options.save is not None:
        arrays.check_writable(options.save, ("output", *call.get("outputs", ())))
    result = client.multi_head_attention(**call) if projected else client.attention(**call)
    if options.save is not None:
        arrays.write(options.save, result.arrays())
        print(f"saved {', '.join(result.arrays())} to {options.save}")
    else:
        _show(result)
    return 0


def _show(result: AttentionResult) -> None:
    for name, array in result.arrays().items():
        print(f"{name}: {array.dtype} {array.shape}\n{np.array2string(array, threshold=200, precision=6)}\n")
    report = result.report
    print(f"path {report.path}, arithmetic {report.compute_seconds * 1e3:.2f} ms")


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
