"""The README's example for Triton's client; it is fenced as `py`, since the other tests have no such client."""

import re
from pathlib import Path

import pytest
from serving import ServerProcess

README = Path(__file__).parents[2] / "README.md"


def test_the_example_of_the_readme_runs(server: ServerProcess, capsys: pytest.CaptureFixture[str]) -> None:
    """It runs as it stands, and prints what stands after it as a comment."""
    (snippet,) = re.findall(r"```py\n(.*?)```", README.read_text(), re.DOTALL)
    exec(compile(snippet.replace("localhost:50051", server.address), "snippet", "exec"), {})  # noqa: S102
    (expected,) = re.findall(r"print\(.+\)  # (\(.+\))$", snippet, re.MULTILINE)
    assert expected in capsys.readouterr().out
