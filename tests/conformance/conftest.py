"""Prints a line for each suite, and lets tests record the figures that it tells."""

from collections.abc import Callable
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pytest
from conformance.suites import OUTCOMES, Figure, lines


class Record(Protocol):
    """Records a figure of a test, pass or fail; the suite's line tells the largest of all that are of the same."""

    def __call__(self, figure: float, of: str = "") -> None: ...


class Agree(Protocol):
    """Asserts that arrays differ by no more than a bound, absolute, and records the largest difference."""

    def __call__(self, found: npt.ArrayLike, expected: npt.ArrayLike, *, within: float, of: str) -> None: ...


@pytest.fixture
def record(record_property: Callable[[str, object], None]) -> Record:
    return lambda figure, of="": record_property("figure", Figure(float(figure), of))


@pytest.fixture
def agree(record: Record) -> Agree:
    def compare(found: npt.ArrayLike, expected: npt.ArrayLike, *, within: float, of: str) -> None:
        found, expected = np.asarray(found), np.asarray(expected)
        assert found.shape == expected.shape
        record(np.abs(found - expected).max(), of)
        np.testing.assert_allclose(found, expected, rtol=0, atol=within)

    return compare


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reports = ((outcome, report) for outcome in OUTCOMES for report in terminalreporter.getreports(outcome))
    for line in lines((outcome, report) for outcome, report in reports if isinstance(report, pytest.TestReport)):
        terminalreporter.write_line(line)
