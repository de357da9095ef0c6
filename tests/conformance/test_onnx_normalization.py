"""Every plain case of the ONNX LayerNormalization and RMSNormalization suites, on the layers of the transformers."""

import math

import numpy as np
import onnx_cases
import pytest
from onnx.backend.test.case.test_case import TestCase

from qkv_server.transformers.layers.normalization import layer_norm, rms_norm

LAYER_CASES = onnx_cases.plain_cases("layernormalization", "test_layer_normalization")
RMS_CASES = onnx_cases.plain_cases("rmsnormalization", "test_rms_normalization")


def rows(case: TestCase) -> tuple[onnx_cases.Array, dict[str, onnx_cases.Array], float]:
    """The axes that are normalized together as one: x (N, D), the parameters (D,), and epsilon."""
    arrays, attributes = onnx_cases.inputs(case), onnx_cases.attributes(case)
    x = arrays.pop("X")
    size = math.prod(x.shape[attributes.get("axis", -1) :])
    parameters = {name: array.reshape(size) for name, array in arrays.items()}
    return x.reshape(-1, size), parameters, attributes.get("epsilon", 1e-5)


@pytest.mark.parametrize("case", LAYER_CASES, ids=lambda case: case.name)
def test_layer_normalizes_as_onnx_expects(case: TestCase) -> None:
    """layer_norm answers the type, the shape and the values that ONNX expects."""
    x, parameters, epsilon = rows(case)
    expected = onnx_cases.outputs(case)["Y"]
    normalized = layer_norm(x, parameters["W"], parameters.get("B"), epsilon)
    onnx_cases.assert_conforms(normalized.reshape(expected.shape), expected, case)


@pytest.mark.parametrize("case", RMS_CASES, ids=lambda case: case.name)
def test_rms_normalizes_as_onnx_expects(case: TestCase) -> None:
    """rms_norm answers the type, the shape and the values that ONNX expects."""
    x, parameters, epsilon = rows(case)
    expected = onnx_cases.outputs(case)["Y"]
    onnx_cases.assert_conforms(rms_norm(x, parameters["W"], epsilon).reshape(expected.shape), expected, case)


def test_the_suites_are_there() -> None:
    """The onnx package has as many cases as when the suites were joined, or more."""
    assert np.all(np.array([len(LAYER_CASES), len(RMS_CASES)]) >= 19)
