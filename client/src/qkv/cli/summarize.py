"""Say in short what a text says. Long texts are summarized part by part.

A chat model does it where there is none that was made for it, which is then said.

Examples:
  qkv summarize --model smollm2 < article.txt
  qkv summarize --model smollm2 --max-tokens 60 < article.txt

"""

import argparse

from qkv import Client
from qkv.cli import answers, texts

NAME = "summarize"
HELP = "say in short what a text says"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the subcommand."""
    texts.add_text(parser, "text")
    answers.add_arguments(parser)
    answers.add_max_tokens(
        parser, "the most tokens of the summary of each part (default: as many as the model was made for)"
    )


def run(client: Client, options: argparse.Namespace) -> int:
    """Print the summary as it comes."""
    call = answers.options_of(options, "model", "max_tokens")
    result = answers.show(client.summarize(texts.text_of(options), **call), options)
    answers.tell_of_a_chat_model(client, result, "summarize")
    return 0
