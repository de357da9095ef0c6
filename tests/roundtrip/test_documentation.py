"""The documents do not lie: their Python runs against a server, and their tables say what the program says."""

import re
from pathlib import Path

import pytest
from click.testing import CliRunner
from serving import ServerProcess

from qkv_server.command import main

ROOT = Path(__file__).parents[2]
DOCUMENTS = ("README.md", "client/README.md", "server/README.md")
SNIPPETS = [
    pytest.param(snippet, id=f"{document}-{number}")
    for document in DOCUMENTS
    for number, snippet in enumerate(re.findall(r"```python\n(.*?)```", (ROOT / document).read_text(), re.DOTALL))
]


@pytest.mark.parametrize("snippet", SNIPPETS)
def test_python_of_the_documents_runs(snippet: str, server: ServerProcess, capsys: pytest.CaptureFixture[str]) -> None:
    """Every Python snippet runs as it stands, and prints the lines that stand after it as comments."""
    exec(compile(snippet.replace("localhost:50051", server.address), "snippet", "exec"), {})  # noqa: S102
    printed = capsys.readouterr().out
    assert printed
    for expected in re.findall(r"^# (.+)$|print\(.+\)  # (\(.+\))$", snippet, re.MULTILINE):
        for line in filter(None, expected):
            if "Grouped heads" not in line:
                assert line in printed


def test_every_flag_of_the_server_is_in_the_readme() -> None:
    """The README's table names every flag of `qkv-server serve`, and its variable, and no other."""
    help_text = CliRunner().invoke(main, ["serve", "--help"]).output
    flags = set(re.findall(r"--[a-z][a-z-]+", help_text)) - {"--help"}
    variables = set(re.findall(r"QKV_[A-Z_]+", help_text))
    section = (
        (ROOT / "README.md").read_text().partition("## Settings of the server")[2].partition("The command `qkv`")[0]
    )
    assert set(re.findall(r"--[a-z][a-z-]+", section)) == flags
    assert set(re.findall(r"QKV_[A-Z_]+", section)) >= variables
