"""Continue a text, printed as it comes. Ctrl-C ends it.

Examples:
  qkv generate "Once upon a time" --model smollm2 --max-tokens 50
  qkv generate "Once upon a time" --model smollm2 --temperature 0.8 --top-p 0.9 --seed 7
  qkv generate --model smollm2 --json < prompt.txt

"""

import argparse

from qkv import Client
from qkv.cli import answers, texts

NAME = "generate"
HELP = "continue a text"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the subcommand."""
    texts.add_text(parser, "prompt")
    answers.add_arguments(parser)
    answers.add_max_tokens(parser)
    parser.add_argument(
        "--stop", action="append", metavar="TEXT", help="end the answer before this text; may be given several times"
    )
    parser.add_argument(
        "--top-log-probabilities",
        type=int,
        metavar="N",
        help="with --json: the log-probability of each token, and of the N likeliest in its place",
    )


def run(client: Client, options: argparse.Namespace) -> int:
    """Print the continuation as it comes."""
    if options.top_log_probabilities is not None and not options.json:
        raise ValueError("--top-log-probabilities: are told by --json, expected that, too")
    call = answers.options_of(options, "model", "max_tokens", "stop", "top_log_probabilities")
    answers.show(client.generate(texts.text_of(options), **call), options)
    return 0
