"""Show the tokens of texts, as a model reads them; or, with --decode, the text of tokens.

Examples:
  qkv tokens "I love bears" --model minilm
  qkv tokens --model minilm --json < lines.txt
  qkv tokens --decode 1045 2293 6468 --model minilm

"""

import argparse
import json
from dataclasses import asdict

from qkv import Client
from qkv.cli import texts
from qkv.cli.tables import counted
from qkv.cli.token_table import token_table

NAME = "tokens"
HELP = "show the tokens of texts, or the text of tokens"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the subcommand."""
    texts.add_texts(parser)
    texts.add_model(parser)
    parser.add_argument(
        "--decode",
        action="store_true",
        help="the other way round: print the text of tokens, whose numbers are given; those on the command line are of "
        "one text, of a file or of standard input those in each line",
    )
    parser.add_argument(
        "--special-tokens",
        action=argparse.BooleanOptionalAction,
        help="with what the model puts around a text, its beginning, separators, its end (default: they are among the "
        "tokens of a text, and left out of the text of tokens)",
    )
    parser.add_argument(
        "--json", action="store_true", help="print a JSON array of tokens, or a JSON string, a line for each text"
    )


def run(client: Client, options: argparse.Namespace) -> int:
    """Print a table of tokens for each text, or a text for each list of tokens."""
    return _decode(client, options) if options.decode else _tokenize(client, options)


def _tokenize(client: Client, options: argparse.Namespace) -> int:
    given = texts.texts_of(options)
    special = options.special_tokens is not False
    for text, tokens in zip(given, client.tokenize(given, model=options.model, special_tokens=special), strict=True):
        if options.json:
            print(json.dumps([asdict(token) for token in tokens], ensure_ascii=False))
        else:
            print(f"{text!r}: {counted(len(tokens), 'token')}\n{token_table(text, tokens)}\n")
    return 0


def _decode(client: Client, options: argparse.Namespace) -> int:
    given = texts.texts_of(options)
    typed = options.texts and options.texts != ["-"]  # as the words of one list; else each line is one
    ids = [[_number(word) for word in line.split()] for line in ([" ".join(given)] if typed else given)]
    for text in client.detokenize(ids, model=options.model, special_tokens=bool(options.special_tokens)):
        print(json.dumps(text, ensure_ascii=False) if options.json else text)
    return 0


def _number(word: str) -> int:
    try:
        return int(word)
    except ValueError:
        raise ValueError(f"--decode: {word!r} is no number of a token") from None
