"""Both distributions, built once: the source distribution from the tree, the wheel from the source distribution."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

LINE = "line"  # the name of the property under which what a test tells travels in its report


@pytest.fixture(scope="session")
def constrained() -> dict[str, str]:
    """The environment of installers: what they install is pinned, also what builds."""
    return {**os.environ, "PIP_CONSTRAINT": str(ROOT / "constraints.txt")}


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory, constrained: dict[str, str]) -> Path:
    """The folder with the wheels and the source distributions."""
    folder = tmp_path_factory.mktemp("built")
    for distribution in ("client", "server"):
        command = [sys.executable, "-m", "build", "--outdir", str(folder), str(ROOT / distribution)]
        done = subprocess.run(command, env=constrained, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture
def tell(record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """Tell a line that is printed after the tests."""
    return lambda line: record_property(LINE, line)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for report in terminalreporter.getreports("passed"):
        for name, value in report.user_properties:
            if name == LINE:
                terminalreporter.write_line(str(value))
