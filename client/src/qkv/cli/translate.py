"""Translate a text, sentence by sentence, by a model that was made for it, or else by a chat model, which is then said.

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
    parser.add_argument(
        "--from",
        dest="source_language",
        default="",
        metavar="TAG",
        help="the language of the text, as en or pt-BR (default: that of the model, if it translates from one alone)",
    )
    parser.add_argument(
        "--to",
        dest="target_language",
        default="",
        metavar="TAG",
        help="the language of the answer (default: that of the model, if it translates to one alone)",
    )
    answers.add_arguments(parser)


def run(client: Client, options: argparse.Namespace) -> int:
    """Print the translation as it comes."""
    languages = {"source": options.source_language, "target": options.target_language}
    call = answers.options_of(options, "model")
    result = answers.show(client.translate(texts.text_of(options), **languages, **call), options)
    answers.tell_of_a_chat_model(client, result, "translate")
    return 0
