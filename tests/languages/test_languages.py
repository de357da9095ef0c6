"""`make languages` itself: what it calls passing, failing and skipped, with Makefiles that are no language."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from languages import run
from languages.models import QUESTION, Answers
from serving import ServerProcess

from qkv.cli.main import main as qkv

PASSES = """
build: ; @echo built > built
run: ; @test -n "$(TARGET)" && echo "$(TARGET)" > target
models: ; @test "$(OPTIONS)" = --vectors && cat ../said
conformance: ; @echo one moment; cp "$(VECTORS)/manifest.json" . && echo "go: 4 passed, 0 failed"
"""

ANSWERS = Answers(np.array([[0.5], [-1.0], [2e-3]], np.float32), "Honey,\nor \r\u2028 fish.\n", ("bert", "llama"))
SAID = f"""
bert: READY
vectors: [0.5, -1.0, 2.0E-3]
{QUESTION}
{ANSWERS.text}
llama: END
"""

Try = Callable[..., tuple[int, list[str]]]


@pytest.fixture(scope="module")
def vectors(server: ServerProcess, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A suite of four cases."""
    folder = tmp_path_factory.mktemp("vectors")
    assert qkv(["vectors", str(folder), "--select", "*/plain", "--target", server.address]) == 0
    return folder


@pytest.fixture
def languages(
    vectors: Path,
    server: ServerProcess,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Try:
    """Tries languages, of which the example for `go` is a Makefile: the exit status, and the printed lines."""
    monkeypatch.setattr(run, "TOOLS", {"go": ("true",), "java": ("true", "a-tool-that-nobody-has")})
    monkeypatch.delenv("CI", raising=False)

    def try_go(makefile: str, *names: str, said: str = SAID) -> tuple[int, list[str]]:
        (tmp_path / "go").mkdir()
        (tmp_path / "go" / "Makefile").write_text(makefile)
        (tmp_path / "said").write_bytes(said.encode())
        suite = run.Suite(server.address, vectors, ANSWERS)
        status = run.try_all(names or ["go"], suite, tmp_path, tmp_path / "logs")
        return status, capsys.readouterr().out.splitlines()

    return try_go


def test_a_language_that_passes(languages: Try, server: ServerProcess, tmp_path: Path) -> None:
    """It is built, run with the address of the server, asked of models, put to the whole suite; its log has it all."""
    status, (built, *passed) = languages(PASSES)
    assert (status, passed) == (0, ["go: bert and llama answer as in Python", "go: 4 passed, 0 failed"])
    assert built.startswith("go: built in ")
    assert (tmp_path / "go" / "built").exists()
    assert (tmp_path / "go" / "target").read_text() == f"{server.address}\n"
    assert len(json.loads((tmp_path / "go" / "manifest.json").read_text())["cases"]) == 4
    assert "one moment" in (tmp_path / "logs" / "go.log").read_text()


@pytest.mark.parametrize(
    ("rule", "other", "said"),
    [
        ("@echo built > built", "@echo no such module; exit 3", "no such module"),
        ('echo "$(TARGET)" > target', "echo no connection; exit 1", "no connection"),
        ("cat ../said", "echo no model; exit 1", "no model"),
        ("go: 4 passed, 0 failed", "go: 3 passed, 1 failed", "go: 3 passed, 1 failed"),
        ("go: 4 passed, 0 failed", "go: 1 passed, 0 failed", "go: 1 passed, 0 failed"),
        ("go: 4 passed", "rust: 4 passed", "rust: 4 passed, 0 failed"),
        ('0 failed"', '0 failed"; exit 1', "make conformance ended with status 2"),
    ],
)
def test_a_language_that_fails(rule: str, other: str, said: str, languages: Try) -> None:
    """A step that fails, or a suite not passed in full, is shown with what it said, and is the exit status."""
    makefile = PASSES.replace(rule, other)
    assert makefile != PASSES
    status, lines = languages(makefile)
    assert status == 1
    assert f"  {said}" in lines
    assert lines[-2:] == ["go: failed", "failed: go"]


@pytest.mark.parametrize(
    ("printed", "other", "why"),
    [
        ("2.0E-3", "2.002E-3", "the vectors differ by 2.0e-06 from the Python client's, expected at most 1e-06"),
        ("2.0E-3", "NaN", "the vectors differ by nan"),
        (", 2.0E-3", "", "2 numbers after `vectors: `, expected 3"),
        ("vectors", "weights", "0 numbers after `vectors: `, expected 3"),
        ("fish.\n", "fish.", "the answer is 'Honey,\\nor \\r\\u2028 fish.', expected"),
        (QUESTION, "What?", "the answer is '', expected"),
    ],
)
def test_a_language_that_is_answered_otherwise(printed: str, other: str, why: str, languages: Try) -> None:
    """Vectors that differ by more than 1e-6 and a text that differs at all are a failure, shown with both."""
    assert printed in SAID
    status, lines = languages(PASSES, said=SAID.replace(printed, other))
    assert status == 1
    assert any(line.startswith(f"  {why}") for line in lines)
    assert lines[-2:] == ["go: failed", "failed: go"]


def test_a_language_without_its_tools_is_skipped(languages: Try) -> None:
    """It is named with what it needs, and the others are tried."""
    status, lines = languages(PASSES, "java", "go")
    assert status == 0
    assert lines[0] == "java: skipped, needs a-tool-that-nobody-has"
    assert lines[-1] == "go: 4 passed, 0 failed"


def test_in_ci_none_may_be_skipped(languages: Try, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where CI is true, a missing tool is a failure."""
    monkeypatch.setenv("CI", "true")
    status, lines = languages(PASSES, "java", "go")
    assert (status, lines[-1]) == (1, "failed: java")
