"""Answers that come in pieces: the options of their calls, and how they are printed."""

import argparse
import json
import sys
from dataclasses import asdict
from typing import Any

from qkv import TextResult, TextStream

SAMPLING: dict[str, tuple[type, str, str]] = {
    "temperature": (float, "T", "divisor of logits (default: 0, always the likeliest token)"),
    "top_k": (int, "K", "choose among so many likeliest tokens"),
    "top_p": (float, "P", "of these among the fewest that make so much of the probability"),
    "min_p": (float, "P", "of these among those at least so likely as the likeliest times this"),
    "repetition_penalty": (float, "R", "make tokens that came before less likely, if above 1"),
    "seed": (int, "N", "equal seeds give equal answers"),
}


def add_arguments(parser: argparse.ArgumentParser, *, max_tokens: bool = True) -> None:
    """Declare the model, how tokens are chosen, and the form of the answer."""
    parser.add_argument("--model", metavar="NAME", help="the model (default: the one that can, if it is alone)")
    if max_tokens:
        parser.add_argument("--max-tokens", type=int, metavar="N", help="the most tokens of the answer")
    group = parser.add_argument_group("how the next token is chosen")
    for name, (kind, metavar, said) in SAMPLING.items():
        group.add_argument(f"--{name.replace('_', '-')}", type=kind, metavar=metavar, help=said)
    parser.add_argument("--json", action="store_true", help="print the whole answer as JSON, with usage and seed")


def options_of(options: argparse.Namespace) -> dict[str, Any]:
    """The options of the client's call."""
    return {name: getattr(options, name, None) for name in ("model", "max_tokens", *SAMPLING)}


def show(answer: TextStream, options: argparse.Namespace) -> TextResult:
    """Print an answer as it comes; how long it took goes to standard error if that is a terminal."""
    with answer:
        if options.json:
            print(json.dumps(asdict(answer.read()), ensure_ascii=False))
            return answer.result
        try:
            for piece in answer:
                print(piece, end="", flush=True)
        finally:
            print()
    if sys.stderr.isatty():
        print(_summary(answer.result), file=sys.stderr)
    return answer.result


def _summary(result: TextResult) -> str:
    usage = result.usage
    decoding = usage.total_seconds - usage.queue_seconds - usage.first_token_seconds
    rate = f", {(usage.output_tokens - 1) / decoding:.0f} tokens/s" if usage.output_tokens > 1 and decoding > 0 else ""
    return (
        f"[{result.model}: {usage.input_tokens} tokens read, first after {usage.first_token_seconds:.2f} s, "
        f"{usage.output_tokens} written{rate}; {result.finish_reason}]"
    )
