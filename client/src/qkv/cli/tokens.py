"""Show the tokens of texts, as a model reads them.

Examples:
  qkv tokens "I love bears" --model minilm
  qkv tokens --json < lines.txt

"""

import argparse
import json
from collections.abc import Iterable
from dataclasses import asdict

from qkv import Client, Token
from qkv.cli import texts

NAME = "tokens"
HELP = "show the tokens of texts"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the subcommand."""
    texts.add_texts(parser)
    texts.add_model(parser)
    parser.add_argument(
        "--without-special-tokens",
        action="store_true",
        help="leave out what the model puts around a text: its beginning, separators, its end",
    )
    parser.add_argument(
        "--json", action="store_true", help="print a JSON array of tokens for each text, on a line of its own"
    )


def run(client: Client, options: argparse.Namespace) -> int:
    """Print a table of tokens for each text."""
    given = texts.texts_of(options)
    for text, tokens in zip(
        given,
        client.tokenize(given, model=options.model, special_tokens=not options.without_special_tokens),
        strict=True,
    ):
        if options.json:
            print(json.dumps([asdict(token) for token in tokens], ensure_ascii=False))
        else:
            print(f"{text!r}: {len(tokens)} tokens\n{_table(text, tokens)}\n")
    return 0


def _table(text: str, tokens: Iterable[Token]) -> str:
    rows = [(str(token.id), token.piece, _place(text, token)) for token in tokens]
    widths = [max((len(row[column]) for row in rows), default=0) for column in range(2)]
    return "\n".join(f"  {number:>{widths[0]}}  {piece:<{widths[1]}}  {place}" for number, piece, place in rows)


def _place(text: str, token: Token) -> str:
    """Where in its text a token comes from."""
    return "special" if token.special else f"{token.begin}:{token.end} {text[token.begin : token.end]!r}"
