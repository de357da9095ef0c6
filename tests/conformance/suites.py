"""The suites, and the line that is told of each: `onnx-attention: 93 passed, 0 failed`, and the worst figures."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import pytest

ERROR = "{:.1e}"
OUTCOMES = {"passed": "passed", "failed": "failed", "error": "failed", "skipped": "skipped"}  # of pytest: of a line


@dataclass(frozen=True)
class Figure:
    """What a test measured, as it travels in the properties of its report."""

    number: float
    of: str  # what was measured, where a suite measures several things


@dataclass(frozen=True)
class Suite:
    """How a suite is called, and how the largest figures are told that its tests recorded, if they do (`record`).

    Where {} stands in the name, each parameter of its tests has a line of its own.
    """

    name: str
    figure: str = ""


SUITES = {
    "test_onnx_attention.py": Suite("onnx-attention"),
    "test_onnx_rotary.py": Suite("onnx-rotary"),
    "test_onnx_normalization.py": Suite("onnx-normalization"),
    "test_torch_multi_head.py": Suite("torch-mha"),
    "test_torch_gradients.py": Suite("torch-gradients"),
    "test_mpmath.py": Suite("float64-vs-mpmath", ERROR),
    "test_half_precision.py": Suite("half-precision", "{:.2f} of plain"),
    "test_tiny_encoders.py": Suite("tiny-{}", ERROR),
    "test_tiny_decoders.py": Suite("tiny-{}", ERROR),
    "test_tiny_encoder_decoders.py": Suite("tiny-{}", ERROR),
    "test_minilm.py": Suite("minilm", ERROR),
    "test_smollm2.py": Suite("smollm2", ERROR),
    "test_marian_tiny11.py": Suite("marian-{}", ERROR),
    "test_annalog.py": Suite("annalog", ERROR),
}


@dataclass
class Line:
    """What came of the tests of a line."""

    figure: str
    counts: Counter[str] = field(default_factory=Counter)
    figures: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))  # by what they are of
    reasons: set[str] = field(default_factory=set)  # of tests that were skipped

    def add(self, outcome: str, report: pytest.TestReport) -> None:
        self.counts[OUTCOMES[outcome]] += 1
        for _, figure in report.user_properties:
            if isinstance(figure, Figure):
                self.figures[figure.of].append(figure.number)
        if outcome == "skipped" and isinstance(report.longrepr, tuple):  # file, line, reason
            self.reasons.add(report.longrepr[2].removeprefix("Skipped: "))

    def __str__(self) -> str:
        said = f"{self.counts['passed']} passed, {self.counts['failed']} failed"
        if self.figures:  # the largest is NaN if one is
            largest = ((what, self.figure.format(np.max(figures))) for what, figures in self.figures.items())
            said += ", largest error " + ", ".join(
                f"{figure} of {what}" if what else figure for what, figure in largest
            )
        if self.reasons:
            said += f", {self.counts['skipped']} skipped: {'; '.join(sorted(self.reasons))}"
        return said


def lines(reports: Iterable[tuple[str, pytest.TestReport]]) -> list[str]:
    """A line for each suite that has tests among reports, which come with their outcomes."""
    found: dict[str, dict[str, Line]] = {file: {} for file in SUITES}
    for outcome, report in reports:
        file, _, test = report.nodeid.partition("::")
        file = file.rpartition("/")[2]
        if file in SUITES:
            parameter = re.search(r"\[(.*)\]$", test)
            name = SUITES[file].name.format(parameter[1] if parameter else "")
            found[file].setdefault(name, Line(SUITES[file].figure)).add(outcome, report)
    return [f"{name}: {line}" for of_file in found.values() for name, line in of_file.items()]
