"""Triton's own client, unmodified, against the Open Inference Protocol. Prints `oip: N passed, 0 failed`."""

from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

import pytest
from serving import ServerProcess

# `make oip` has an environment with the client; the other tests run without it.
collect_ignore_glob = [] if find_spec("tritonclient") else ["test_*.py"]


@pytest.fixture(scope="session")
def triton(server: ServerProcess) -> Iterator[Any]:
    from tritonclient.grpc import InferenceServerClient  # type: ignore[import-not-found]  # noqa: PLC0415

    with InferenceServerClient(server.address) as client:
        yield client


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    here = [
        (outcome, report)
        for outcome in ("passed", "failed", "error")
        for report in terminalreporter.getreports(outcome)
        if "oip/" in report.nodeid
    ]
    if here:
        passed = sum(outcome == "passed" for outcome, _ in here)
        terminalreporter.write_line(f"oip: {passed} passed, {len(here) - passed} failed")
