"""Continue a text.

Examples:
  qkv generate "Once upon a time" --max-tokens 50
  qkv generate "Once upon a time" --temperature 0.8 --top-p 0.9 --seed 7
  qkv generate --json < prompt.txt

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
    parser.add_argument("--stop", action="append", metavar="TEXT", help="end before this text; may be repeated")
    parser.add_argument(
        "--top-log-probabilities",
        type=int,
        metavar="N",
        help="with --json: of each token its log-probability and those of so many likeliest",
    )


def run(client: Client, options: argparse.Namespace) -> int:
    """Print the continuation as it comes."""
    further = {"stop": options.stop, "top_log_probabilities": options.top_log_probabilities}
    answers.show(client.generate(texts.text_of(options), **answers.options_of(options), **further), options)
    return 0
