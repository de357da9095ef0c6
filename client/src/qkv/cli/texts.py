"""Texts of a command: its arguments, the lines of a file, or standard input."""

import argparse
import sys
from pathlib import Path

FROM_INPUT = "left out or -: standard input"


def add_text(parser: argparse.ArgumentParser, name: str) -> None:
    """Declare one text."""
    parser.add_argument("text", nargs="?", metavar=name.upper(), help=f"the {name}; {FROM_INPUT}")


def add_texts(parser: argparse.ArgumentParser) -> None:
    """Declare several texts."""
    parser.add_argument("texts", nargs="*", metavar="TEXT", help="a text; without one, each line of standard input is")
    parser.add_argument("--file", type=Path, metavar="FILE", help="take each line of a file as a text")


def text_of(options: argparse.Namespace) -> str:
    """The one text of a command, as it stands on standard input but for the line break at its end."""
    given: str | None = options.text
    return sys.stdin.read().removesuffix("\n") if given in (None, "-") else str(given)


def texts_of(options: argparse.Namespace) -> list[str]:
    """The texts of a command; raises ValueError where they come from two places."""
    if options.file is not None:
        if options.texts:
            raise ValueError("--file: and TEXT are two sources of texts, expected one")
        content: str = options.file.read_text(encoding="utf-8")
        return content.splitlines()
    return list(options.texts) or sys.stdin.read().splitlines()
