"""Answers that come in pieces: the options of their calls, and how they are printed."""

import argparse
import contextlib
import json
import sys
from dataclasses import asdict
from typing import Any

from qkv import CallError, Client, TextResult, TextStream
from qkv.cli import texts
from qkv.cli.tables import counted

SAMPLING: dict[str, tuple[type, str, str]] = {
    "temperature": (float, "T", "divide logits by T before drawing; 0 takes the likeliest token (default: 0)"),
    "top_k": (int, "K", "draw among the K likeliest tokens (default: all)"),
    "top_p": (float, "P", "of these, among the fewest whose probabilities add up to P (default: all)"),
    "min_p": (float, "P", "of these, among those at least P times as likely as the likeliest (default: all)"),
    "repetition_penalty": (float, "R", "above 1: make tokens that have come before less likely (default: 1)"),
    "seed": (int, "N", "equal seeds give equal answers (default: the server draws one, which --json tells)"),
}
LENGTH = "the most tokens of the answer (default: what the context of the model holds, or the server's bound)"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the model, how tokens are chosen, and the form of the answer."""
    texts.add_model(parser)
    parser.add_argument(
        "--json", action="store_true", help="print the answer at its end, as JSON with finish reason, usage and seed"
    )
    group = parser.add_argument_group("how the next token is chosen", "the likeliest, unless --temperature is above 0")
    for name, (kind, metavar, said) in SAMPLING.items():
        group.add_argument(f"--{name.replace('_', '-')}", type=kind, metavar=metavar, help=said)


def add_max_tokens(parser: argparse.ArgumentParser, said: str = LENGTH) -> None:
    """Declare how long the answer may be."""
    parser.add_argument("--max-tokens", type=int, metavar="N", help=said)


def options_of(options: argparse.Namespace, *names: str) -> dict[str, Any]:
    """The options of the client's call: how tokens are chosen, and those of these names."""
    return {name: getattr(options, name) for name in (*SAMPLING, *names)}


def show(answer: TextStream, options: argparse.Namespace) -> TextResult:
    """Print an answer as it comes; how long it took goes to standard error if that is a terminal."""
    with answer:
        if options.json:
            print(json.dumps(asdict(answer.read()), ensure_ascii=False))
            return answer.result
        _print(answer)
    if sys.stderr.isatty():
        print(_summary(answer.result), file=sys.stderr)
    return answer.result


def tell_of_a_chat_model(client: Client, result: TextResult, verb: str) -> None:
    """Say on standard error that a text was rewritten by a model that was not made for it, if it was."""
    with contextlib.suppress(CallError):  # the model may have left: the answer is there nevertheless
        if "chat" in client.model(result.model).tasks:
            print(f"qkv: {result.model} is a chat model, not made to {verb}: read with care", file=sys.stderr)


def _print(answer: TextStream) -> None:
    """Print the pieces; a line break ends what was printed, also where the answer breaks off."""
    begun = False
    try:
        for piece in answer:
            begun = True
            print(piece, end="", flush=True)
    finally:
        if begun:
            print()


def _summary(result: TextResult) -> str:
    usage = result.usage
    decoding = usage.total_seconds - usage.queue_seconds - usage.first_token_seconds
    rate = f", {(usage.output_tokens - 1) / decoding:.0f} tokens/s" if usage.output_tokens > 1 and decoding > 0 else ""
    return (
        f"[{result.model}: {counted(usage.input_tokens, 'token')} read, first after {usage.first_token_seconds:.2f} s, "
        f"{usage.output_tokens} written{rate}; {result.finish_reason}]"
    )
