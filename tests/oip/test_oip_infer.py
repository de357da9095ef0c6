"""What the model answers to Triton's client, one call at a time."""

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from oip.asking import MODEL, Array, formula, infer, inputs, outputs, random

TOLERANCES = {"float64": 1e-12, "float32": 1e-5, "float16": 2e-3, "bfloat16": 2e-2}


@pytest.mark.parametrize("name", TOLERANCES)
def test_floating_types_are_answered_in_kind(name: str, triton: Any) -> None:
    """FP64, FP32, FP16 and BF16 in, the same out."""
    dtype = np.dtype(getattr(ml_dtypes, name, name))
    q, k, v = (random(seed, 2, 3, 5, 8, dtype=dtype) for seed in range(3))
    answer = infer(triton, {"Q": q, "K": k, "V": v}).as_numpy("Y")
    assert answer.dtype == dtype
    np.testing.assert_allclose(answer.astype(np.float64), formula(q, k, v), rtol=0, atol=TOLERANCES[name])


@pytest.mark.parametrize("dtype", [np.int64, np.int32, np.int8, np.uint8])
def test_lengths_may_have_any_integer_type(dtype: type, triton: Any) -> None:
    """Keys beyond nonpad_kv_seqlen are not there, whatever they hold."""
    q, k, v = (random(seed, 2, 1, 4, 8) for seed in range(3))
    k[0, :, 2:], v[1, :, 3:] = np.nan, np.nan
    answer = infer(triton, {"Q": q, "K": k, "V": v, "nonpad_kv_seqlen": np.array([2, 3], dtype)}).as_numpy("Y")
    for row, length in enumerate((2, 3)):
        np.testing.assert_allclose(answer[row], formula(q, k[:, :, :length], v[:, :, :length])[row], atol=1e-5)


def test_a_mask_hides(triton: Any) -> None:
    """A boolean mask and a floating one that say the same have one answer."""
    arrays = {"Q": random(0, 1, 2, 3, 4)}
    mask = np.tril(np.ones((3, 3), np.bool_))
    boolean = infer(triton, arrays | {"attn_mask": mask}).as_numpy("Y")
    added = np.where(mask, np.float32(0), np.float32(-np.inf))
    np.testing.assert_array_equal(boolean, infer(triton, arrays | {"attn_mask": added}).as_numpy("Y"))
    np.testing.assert_allclose(boolean, infer(triton, arrays, is_causal=1).as_numpy("Y"), atol=1e-6)


def test_a_cache_grows(triton: Any) -> None:
    """Keys and values that came back as present go in as past: one more token has the answer of the whole."""
    q, k, v = (random(seed, 1, 2, 6, 8) for seed in range(3))
    whole = infer(triton, {"Q": q, "K": k, "V": v}, is_causal=1).as_numpy("Y")
    wanted = ["present_key", "Y", "present_value"]
    first = infer(triton, {"Q": q[:, :, :5], "K": k[:, :, :5], "V": v[:, :, :5]}, wanted, is_causal=1)
    past = {"past_key": first.as_numpy("present_key"), "past_value": first.as_numpy("present_value")}
    last = infer(triton, {"Q": q[:, :, 5:], "K": k[:, :, 5:], "V": v[:, :, 5:]} | past, wanted, is_causal=1)
    np.testing.assert_allclose(np.concatenate([first.as_numpy("Y"), last.as_numpy("Y")], axis=2), whole, atol=1e-5)
    np.testing.assert_array_equal(last.as_numpy("present_key"), k)


def test_only_what_is_asked_for_comes_back(triton: Any) -> None:
    """Outputs come in the order of the request; Y alone where none is asked for."""
    arrays = {"Q": random(0, 1, 2, 3, 4)}
    wanted = ["qk_matmul_output", "log_sum_exp", "present_value"]
    assert names(infer(triton, arrays, wanted)) == wanted
    assert names(triton.infer(MODEL, inputs(arrays))) == ["Y"]


def names(result: Any) -> list[str]:
    return [output.name for output in result.get_response().outputs]


def test_the_answer_says_whose_it_is(triton: Any) -> None:
    """The id of the request comes back, with the model, its version, and how the answer was made."""
    response = triton.infer(MODEL, inputs({"Q": random(0, 1, 1, 2, 4)}), request_id="7 bears").get_response()
    assert (response.id, response.model_name, response.model_version) == ("7 bears", MODEL, "1")
    assert response.parameters["path"].string_param in ("reference", "batched", "tiled", "decode")
    assert response.parameters["compute_seconds"].double_param > 0


def test_options_of_the_contract_have_its_names(triton: Any) -> None:
    """What ONNX has no name for is asked for as the contract calls it: sinks, windows, ALiBi, rotary embedding."""
    q = random(0, 1, 2, 6, 8)
    plain = infer(triton, {"Q": q}).as_numpy("Y")
    options: list[tuple[dict[str, Array], dict[str, Any]]] = [
        ({"sinks": np.zeros(2, np.float32)}, {}),
        ({}, {"window_left": 1, "alignment": "top_left"}),
        ({}, {"alibi": True, "alignment": "ALIGNMENT_BOTTOM_RIGHT"}),
        ({}, {"rotary.base": 500.0, "rotary.linear.factor": 2}),
    ]
    for arrays, parameters in options:
        answer = infer(triton, {"Q": q} | arrays, **parameters).as_numpy("Y")
        assert np.abs(answer - plain).max() > 1e-3


def test_numbers_may_be_written_out(triton: Any) -> None:
    """Clients whose parameters know no fractions can send a number as text."""
    arrays = {"Q": random(0, 1, 2, 3, 4)}
    np.testing.assert_array_equal(
        infer(triton, arrays, scale="0.125").as_numpy("Y"), infer(triton, arrays, scale=0.125).as_numpy("Y")
    )


def test_an_empty_tensor_is_one(triton: Any) -> None:
    """No queries have an answer without rows."""
    q, k = np.empty((1, 2, 0, 4), np.float32), random(1, 1, 2, 3, 4)
    assert infer(triton, {"Q": q, "K": k}).as_numpy("Y").shape == (1, 2, 0, 4)


@pytest.mark.parametrize("compression", ["gzip", "deflate"])
def test_calls_may_be_compressed(compression: str, triton: Any) -> None:
    """A compressed call has the answer of one that is not."""
    arrays = {"Q": random(0, 1, 4, 64, 32)}
    result = triton.infer(MODEL, inputs(arrays), outputs=outputs(["Y"]), compression_algorithm=compression)
    np.testing.assert_array_equal(result.as_numpy("Y"), infer(triton, arrays).as_numpy("Y"))
