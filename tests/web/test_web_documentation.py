"""The README's curl lines do what stands after them."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest
from model_serving import serving_models
from packaged import packaged
from serving import SECONDS
from web.asking import Web, web_address

README = Path(__file__).parents[2] / "README.md"
CURL = re.compile(r"^\$ (curl [^'\n]*(?:'[^']*'[^'\n]*)*)\n((?:(?!\$ |```).*\n)*)", re.MULTILINE)
LINES = [found.groups() for found in CURL.finditer(README.read_text())]
MODELS = [line for line in LINES if "ModelService" in line[0]]
OTHERS = [line for line in LINES if line not in MODELS]


def test_there_are_lines() -> None:
    """The README shows a call, a refusal, both kinds of health, and an answer in pieces."""
    assert len(OTHERS) >= 4
    assert MODELS


def assert_prints(command: str, expected: str, address: str) -> None:
    assert "localhost:8080" in command
    arguments = shlex.split(command.replace("localhost:8080", address))
    printed = subprocess.run(arguments, capture_output=True, text=True, timeout=SECONDS, check=True).stdout.splitlines()
    shown = expected.splitlines()
    if shown[-1] == "…":
        shown.pop()
        del printed[len(shown) :]
    assert shown
    for shown_line, line in zip(shown, printed, strict=True):
        beginning, cut, _ = shown_line.partition("…")
        assert line.startswith(beginning) if cut else line == shown_line


@pytest.mark.parametrize(("command", "expected"), OTHERS, ids=range(len(OTHERS)))
def test_a_line_prints_what_stands_after_it(command: str, expected: str, web: Web) -> None:
    """The command itself, as it was typed, prints what stands there; … is the rest of a line, or all other lines."""
    assert_prints(command, expected, web.address)


@pytest.mark.parametrize(("command", "expected"), MODELS, ids=range(len(MODELS)))
def test_a_line_asks_the_packaged_models(command: str, expected: str, tmp_path: Path) -> None:
    """The same of the commands that ask whole models, with those that `make models` installs."""
    for name in ("enpt", "pten"):
        (tmp_path / name).symlink_to(packaged(name))
    with serving_models(tmp_path, "--web-address", "127.0.0.1:0") as server:
        assert_prints(command, expected, web_address(server))
        assert server.stop() == 0
