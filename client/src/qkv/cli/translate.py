"""Translate a text, sentence by sentence.

Examples:
  qkv translate "The cat sleeps." --from en --to pt
  qkv translate --from pt --to en < carta.txt

"""

import argparse

from qkv import Client
from qkv.cli import answers, texts

NAME = "translate"
HELP = "translate a text"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the subcommand."""
    texts.add_text(parser, "text")
    parser.add_argument("--from", dest="source_language", default="", metavar="TAG", help="its language, as en")
    parser.add_argument(
        "--to", dest="target_language", default="", metavar="TAG", help="the language of the answer, as pt"
    )
    answers.add_arguments(parser, max_tokens=False)


def run(client: Client, options: argparse.Namespace) -> int:
    """Print the translation as it comes."""
    further = answers.options_of(options)
    del further["max_tokens"]
    answer = client.translate(
        texts.text_of(options), source=options.source_language, target=options.target_language, **further
    )
    answers.show(answer, options)
    return 0
