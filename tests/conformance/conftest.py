"""Prints a line for each suite: `onnx-attention: 93 passed, 0 failed`, and the worst figure of those that measure."""

from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest


@dataclass(frozen=True)
class Suite:
    """How a suite is called, and how the largest figure is told that its tests recorded, if they do (`record`)."""

    name: str
    figure: str = ""


SUITES = {
    "test_onnx_attention.py": Suite("onnx-attention"),
    "test_onnx_rotary.py": Suite("onnx-rotary"),
    "test_onnx_normalization.py": Suite("onnx-normalization"),
    "test_torch_multi_head.py": Suite("torch-mha"),
    "test_torch_gradients.py": Suite("torch-gradients"),
    "test_mpmath.py": Suite("float64-vs-mpmath", ", largest error {:.1e}"),
    "test_half_precision.py": Suite("half-precision", ", largest error {:.2f} of plain"),
}

FIGURE = "figure"  # the name of the property under which a test's figure travels in its report


@pytest.fixture
def record(record_property: Callable[[str, object], None]) -> Callable[[float], None]:
    """Record a figure of this test, pass or fail; the suite's line tells the largest of all."""
    return lambda figure: record_property(FIGURE, float(figure))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    passed: Counter[Suite] = Counter()
    failed: Counter[Suite] = Counter()
    figures: defaultdict[Suite, list[float]] = defaultdict(list)
    for outcome, counts in (("passed", passed), ("failed", failed), ("error", failed)):
        for report in terminalreporter.getreports(outcome):
            suite = SUITES.get(report.nodeid.partition("::")[0].rpartition("/")[2])
            if suite is not None:
                counts[suite] += 1
                figures[suite] += [value for name, value in report.user_properties if name == FIGURE]
    for suite in SUITES.values():
        if passed[suite] or failed[suite]:
            line = f"{suite.name}: {passed[suite]} passed, {failed[suite]} failed"
            if figures[suite]:
                line += suite.figure.format(np.max(figures[suite]))  # which is NaN if one is
            terminalreporter.write_line(line)
