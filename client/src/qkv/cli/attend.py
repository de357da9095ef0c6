"""Ask one attention call with arrays that are typed or read from files.

Examples:
  qkv attend --query '1 0; 0 1' --outputs weights
  qkv attend --query q.npy --key k.npy --value v.npy --causal --save answer.npz
  qkv attend --query all.safetensors --key all.safetensors --value all.safetensors --heads 8
  qkv attend --query packed.npy --causal --cumulative-query-lengths 0 3 7
  qkv attend --query q.npy --causal --rotary '{"base": 500000}' --sinks '[0.5, -1]'

"""

import argparse
from pathlib import Path
from typing import get_args

import numpy as np

from qkv import AttentionResult, Client
from qkv._options import QuantityName
from qkv.cli import arrays, question

NAME = "attend"
HELP = "ask one attention call with arrays typed or from files"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the subcommand."""
    question.add_arguments(parser)
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
    call, projected = question.arguments_of(options)
    if options.outputs is not None:
        call["outputs"] = options.outputs
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
