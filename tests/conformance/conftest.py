"""Prints a line for each suite: `onnx-attention: 93 passed, 0 failed`."""

from collections import Counter

import pytest

SUITES = {
    "test_onnx_attention.py": "onnx-attention",
    "test_onnx_rotary.py": "onnx-rotary",
    "test_torch_multi_head.py": "torch-mha",
}


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    passed: Counter[str] = Counter()
    failed: Counter[str] = Counter()
    for outcome, counts in (("passed", passed), ("failed", failed), ("error", failed)):
        for report in terminalreporter.getreports(outcome):
            file = report.nodeid.partition("::")[0].rpartition("/")[2]
            if file in SUITES:
                counts[SUITES[file]] += 1
    for suite in SUITES.values():
        if passed[suite] or failed[suite]:
            terminalreporter.write_line(f"{suite}: {passed[suite]} passed, {failed[suite]} failed")
