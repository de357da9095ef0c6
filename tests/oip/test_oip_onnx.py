"""Every plain case of the ONNX Attention suite, asked by Triton's client in ONNX's own words."""

from typing import Any

import onnx_cases
import pytest
from oip.asking import infer
from onnx.backend.test.case.test_case import TestCase

CASES = onnx_cases.plain_cases("attention", "test_attention")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_answers_as_onnx_expects(case: TestCase, triton: Any) -> None:
    """The model answers the case with the type, the shape and the values that ONNX expects."""
    expected = onnx_cases.outputs(case)
    result = infer(triton, onnx_cases.inputs(case), list(expected), **onnx_cases.attributes(case))
    assert [output.name for output in result.get_response().outputs] == list(expected)
    for name, array in expected.items():
        onnx_cases.assert_conforms(result.as_numpy(name), array, case)
