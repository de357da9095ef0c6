"""Every plain case of the ONNX RotaryEmbedding suite, on the core."""

import onnx_cases
import pytest
from onnx.backend.test.case.test_case import TestCase

from qkv_server.core import rotary_embedding

CASES = onnx_cases.plain_cases("rotaryembedding", "test_rotary_embedding")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_rotates_as_onnx_expects(case: TestCase) -> None:
    """The core rotates with the type, the shape and the values that ONNX expects."""
    arrays, attributes = onnx_cases.inputs(case), onnx_cases.attributes(case)
    rotated = rotary_embedding(
        arrays["input"],
        arrays["cos_cache"],
        arrays["sin_cache"],
        arrays.get("position_ids"),
        heads=attributes.get("num_heads", 0),
        rotary_size=attributes.get("rotary_embedding_dim", 0),
        interleaved=bool(attributes.get("interleaved", 0)),
    )
    onnx_cases.assert_conforms(rotated, onnx_cases.outputs(case)["output"], case)
