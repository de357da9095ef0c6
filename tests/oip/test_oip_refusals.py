"""What Triton's client hears when a request has no answer."""

from typing import Any

import numpy as np
import pytest
from oip.asking import MODEL, Array, as_input, infer, outputs, random, refusal_of
from tritonclient.utils import InferenceServerException  # type: ignore[import-not-found]

Q = random(0, 1, 2, 3, 4)

WRONG: dict[str, tuple[dict[str, Array], dict[str, Any], str]] = {
    "no Q": ({"K": Q}, {}, "Q: needed"),
    "an unknown input": ({"Q": Q, "X": Q}, {}, "X: is no input of this model"),
    "a head size that differs": ({"Q": Q, "K": Q[..., :3].copy()}, {}, "K: head size is 3, query has 4"),
    "a mask that fits nothing": ({"Q": Q, "attn_mask": np.ones((5, 3), np.bool_)}, {}, "attn_mask: "),
    "a cache by half": ({"Q": Q, "past_key": Q}, {}, "past_value: "),
    "a query of integers": ({"Q": Q.astype(np.int32)}, {}, "Q: "),
    "lengths with fractions": ({"Q": Q, "nonpad_kv_seqlen": np.ones(1)}, {}, "nonpad_kv_seqlen: is float64 of rank 1"),
    "a type that is not here": ({"Q": Q.astype(np.int16)}, {}, "Q: has datatype 'INT16', expected one of FP64"),
    "two names for one input": ({"Q": Q, "query": Q}, {}, "query: is given beside Q"),
    "an unknown parameter": ({"Q": Q}, {"causl": 1}, "causl: is no parameter of this model"),
    "two names for one option": ({"Q": Q}, {"is_causal": 1, "causal": True}, "is_causal: is given beside causal"),
    "two scalings": ({"Q": Q}, {"rotary.linear.factor": 2.0, "rotary.yarn.factor": 2.0}, "rotary.yarn.factor: "),
    "an unknown choice": ({"Q": Q}, {"alignment": "left"}, "alignment: is 'left', expected one of TOP_LEFT"),
    "a text for a number": ({"Q": Q}, {"scale": "much"}, "scale: is 'much', expected a number"),
    "a mode that is none": ({"Q": Q}, {"qk_matmul_output_mode": 4}, "qk_matmul_output_mode: "),
    "heads that do not divide": ({"Q": random(0, 1, 3, 8)}, {"q_num_heads": 3, "kv_num_heads": 3}, "Q: "),
    "a softcap below 0": ({"Q": Q}, {"softcap": -1.0}, "softcap: "),
    "two readings": ({"Q": Q, "K": random(1, 1, 2, 5, 4)}, {"causal": True}, "alignment: needed"),
}


@pytest.mark.parametrize(("arrays", "parameters", "said"), WRONG.values(), ids=WRONG.keys())
def test_wrong_requests_are_refused_by_name(
    arrays: dict[str, Array], parameters: dict[str, Any], said: str, triton: Any
) -> None:
    """INVALID_ARGUMENT, and the message names what is wrong as the request does."""
    status, message = refusal_of(triton, arrays, **parameters)
    assert status == "StatusCode.INVALID_ARGUMENT"
    assert said in message
    assert infer(triton, {"Q": Q}).as_numpy("Y").shape == Q.shape


def test_bytes_that_do_not_fill_the_shape_are_refused(triton: Any) -> None:
    """The message says how many bytes there are, and how many the shape takes."""
    tensor = as_input("Q", Q)
    tensor.set_shape([1, 2, 3, 5])
    with pytest.raises(InferenceServerException, match=r"Q\.data: has 96 bytes, expected 120") as refused:
        triton.infer(MODEL, [tensor])
    assert refused.value.status() == "StatusCode.INVALID_ARGUMENT"


def test_everything_wrong_is_told_at_once(triton: Any) -> None:
    """Two wrong parameters and a wrong input are all in one message."""
    _, message = refusal_of(triton, {"Q": Q, "X": Q}, scale="much", causl=1)
    assert all(f"{name}: " in message for name in ("X", "scale", "causl"))


def test_an_unknown_output_is_refused(triton: Any) -> None:
    """The message names the outputs that there are."""
    with pytest.raises(InferenceServerException, match=r"Z: is no output .*Y, qk_matmul_output"):
        triton.infer(MODEL, [as_input("Q", Q)], outputs=outputs(["Z"]))


def test_shared_memory_is_refused(triton: Any) -> None:
    """A region that could not be registered is not read as if it were empty."""
    tensor = as_input("Q", Q)
    tensor.set_shared_memory("region", Q.nbytes)
    with pytest.raises(InferenceServerException, match="Q: has the parameter 'shared_memory_byte_size'"):
        triton.infer(MODEL, [tensor])


@pytest.mark.parametrize("options", [{"sequence_id": 3, "sequence_end": True}, {"priority": 1}, {"timeout": 5}])
def test_what_would_be_ignored_is_refused(options: dict[str, Any], triton: Any) -> None:
    """Sequences, priorities and timeouts of the queue are not here, which is said."""
    with pytest.raises(InferenceServerException, match=f"{min(options)}: is no parameter of this model"):
        triton.infer(MODEL, [as_input("Q", Q)], **options)


def test_an_answer_too_large_is_refused(triton: Any) -> None:
    """RESOURCE_EXHAUSTED before anything is computed."""
    q = np.zeros((1, 64, 8192, 1), np.float32)
    with pytest.raises(InferenceServerException, match="would take") as refused:
        triton.infer(MODEL, [as_input("Q", q)], outputs=outputs(["qk_matmul_output"]))
    assert refused.value.status() == "StatusCode.RESOURCE_EXHAUSTED"


def test_a_deadline_ends_the_call(triton: Any) -> None:
    """A call that takes longer than its client waits is DEADLINE_EXCEEDED, and the next one is answered."""
    q = random(0, 1, 16, 8192, 64)
    with pytest.raises(InferenceServerException) as refused:
        triton.infer(MODEL, [as_input("Q", q)], client_timeout=0.2)
    assert refused.value.status() == "StatusCode.DEADLINE_EXCEEDED"
    assert infer(triton, {"Q": Q}).as_numpy("Y").shape == Q.shape
