"""The README's example for Triton's client; it is fenced as `py`, since the other tests have no such client."""

import re

import pytest
from readme import example_with
from serving import ServerProcess


def test_the_example_of_the_readme_runs(server: ServerProcess, capsys: pytest.CaptureFixture[str]) -> None:
    """It runs as it stands, and prints what stands after it as a comment."""
    snippet = example_with("InferenceServerClient")
    exec(compile(snippet.replace("localhost:50051", server.address), "snippet", "exec"), {})  # noqa: S102
    (expected,) = re.findall(r"print\(.+\)  # (\(.+\))$", snippet, re.MULTILINE)
    assert expected in capsys.readouterr().out
