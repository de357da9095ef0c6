"""The README's curl lines do what stands after them."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest
from serving import SECONDS
from web.asking import Web

README = Path(__file__).parents[2] / "README.md"
CURL = re.compile(r"^\$ (curl [^'\n]*(?:'[^']*'[^'\n]*)*)\n((?:(?!\$ |```).*\n)*)", re.MULTILINE)
LINES = [
    pytest.param(*found.groups(), id=str(number)) for number, found in enumerate(CURL.finditer(README.read_text()))
]


def test_there_are_lines() -> None:
    """The README shows a call, a refusal, and both kinds of health."""
    assert len(LINES) >= 4


@pytest.mark.parametrize(("command", "expected"), LINES, ids=range(len(LINES)))
def test_a_line_prints_what_stands_after_it(command: str, expected: str, web: Web) -> None:
    """The command itself, as it was typed, prints what stands there; … stands for the rest of it."""
    assert "localhost:8080" in command
    arguments = shlex.split(command.replace("localhost:8080", web.address))
    printed = subprocess.run(arguments, capture_output=True, text=True, timeout=SECONDS, check=True).stdout
    assert expected
    for shown, line in zip(expected.splitlines(), printed.splitlines(), strict=True):
        beginning, cut, _ = shown.partition("…")
        assert line.startswith(beginning) if cut else line == shown
