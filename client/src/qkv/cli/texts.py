"""Texts of a command, its arguments, the lines of a file, or standard input; and the model that they are for."""

import argparse
import io
import sys
from pathlib import Path

FROM_INPUT = "left out or -: standard input"


def add_text(parser: argparse.ArgumentParser, name: str) -> None:
    """Declare one text."""
    parser.add_argument("text", nargs="?", metavar=name.upper(), help=f"the {name}; {FROM_INPUT}")


def add_texts(parser: argparse.ArgumentParser) -> None:
    """Declare several texts."""
    parser.add_argument(
        "texts", nargs="*", metavar="TEXT", help="a text; without any, and for -, each line of standard input is one"
    )
    parser.add_argument("--file", type=Path, metavar="FILE", help="take each line of a file as a text")


def add_model(parser: argparse.ArgumentParser) -> None:
    """Declare the model."""
    parser.add_argument(
        "--model", default="", metavar="NAME", help="the model (default: the only one of the server that can do this)"
    )


def text_of(options: argparse.Namespace) -> str:
    """The one text of a command, as it stands on standard input but for the line break at its end."""
    given: str | None = options.text
    return _input().removesuffix("\n") if given in (None, "-") else str(given)


def texts_of(options: argparse.Namespace) -> list[str]:
    """The texts of a command; raises ValueError where they come from two places."""
    if options.file is not None:
        if options.texts:
            raise ValueError("--file: and TEXT are two sources of texts, expected one")
        return _lines(_read(options.file))
    given = options.texts or ["-"]
    return [text for each in given for text in (_lines(_input()) if each == "-" else [each])]


def _read(file: Path) -> str:
    return _decoded(file.read_bytes(), f"--file: {file}")


def _input() -> str:
    """Standard input, which is UTF-8 whatever the locale says: some locales let any byte pass for a character."""
    return _decoded(sys.stdin.buffer.read(), "standard input")


def _decoded(content: bytes, source: str) -> str:
    """The text of bytes, its line breaks as Python has them; raises ValueError naming the source and the line."""
    try:
        return io.TextIOWrapper(io.BytesIO(content), encoding="utf-8").read()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ValueError(f"{source}, line {line}: is not UTF-8 ({error.reason})") from error


def _lines(content: str) -> list[str]:
    """The lines as other programs count them: what else `splitlines` takes for an end may stand in a text."""
    return content.removesuffix("\n").split("\n") if content else []
