"""Every plain case of the ONNX Attention suite, asked over a socket with the Python client."""

from typing import Any

import onnx
import onnx_cases
import pytest
from onnx.backend.test.case.test_case import TestCase

import qkv

CASES = onnx_cases.plain_cases("attention", "test_attention")

SCORE_QUANTITIES = ("scores", "capped_scores", "masked_scores", "weights")  # qk_matmul_output_mode 0 to 3


def as_call(case: TestCase) -> dict[str, Any]:
    """The arguments of `Client.attention` that ask what the case asks."""
    arrays, attributes = onnx_cases.inputs(case), onnx_cases.attributes(case)
    lengths = arrays.get("nonpad_kv_seqlen")
    call: dict[str, Any] = {
        "query": arrays["Q"],
        "key": arrays["K"],
        "value": arrays["V"],
        "mask": arrays.get("attn_mask"),
        "past_key": arrays.get("past_key"),
        "past_value": arrays.get("past_value"),
        "key_lengths": lengths,
        "causal": bool(attributes.get("is_causal", 0)),
        "alignment": "top_left" if lengths is None else "bottom_right",
        "window": tuple(
            width if width >= 0 else None
            for width in (attributes.get("left_window_size", -1), attributes.get("right_window_size", -1))
        ),
        "scale": attributes.get("scale"),
        "softcap": attributes.get("softcap"),
        "heads": attributes.get("q_num_heads"),
        "kv_heads": attributes.get("kv_num_heads"),
    }
    if "softmax_precision" in attributes:
        call["softmax_precision"] = onnx.helper.tensor_dtype_to_np_dtype(attributes["softmax_precision"])
    wanted = onnx_cases.outputs(case)
    call["outputs"] = [name for name in ("present_key", "present_value") if name in wanted]
    if "qk_matmul_output" in wanted:
        call["outputs"].append(SCORE_QUANTITIES[attributes.get("qk_matmul_output_mode", 0)])
    return call


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_answers_as_onnx_expects(case: TestCase, client: qkv.Client) -> None:
    """The server answers the case with the type, the shape and the values that ONNX expects."""
    result = client.attention(**as_call(case))
    mode = SCORE_QUANTITIES[onnx_cases.attributes(case).get("qk_matmul_output_mode", 0)]
    names = {"Y": "output", "qk_matmul_output": mode}
    for name, expected in onnx_cases.outputs(case).items():
        onnx_cases.assert_conforms(getattr(result, names.get(name, name)), expected, case)
