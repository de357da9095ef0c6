"""Questions as users of Triton's client write them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from tritonclient.grpc import InferInput, InferRequestedOutput  # type: ignore[import-not-found]
from tritonclient.utils import InferenceServerException, np_to_triton_dtype  # type: ignore[import-not-found]

Array = npt.NDArray[Any]

MODEL = "attention"
SECONDS = 60.0  # a deadline


def inputs(arrays: Mapping[str, Array]) -> list[Any]:
    return [as_input(name, array) for name, array in arrays.items()]


def as_input(name: str, array: Array) -> Any:
    tensor = InferInput(name, array.shape, np_to_triton_dtype(array.dtype))
    tensor.set_data_from_numpy(array)
    return tensor


def outputs(names: Sequence[str]) -> list[Any]:
    return [InferRequestedOutput(name) for name in names]


def infer(triton: Any, arrays: Mapping[str, Array], wanted: Sequence[str] = ("Y",), **parameters: Any) -> Any:
    """The result of a call of the model."""
    return triton.infer(
        MODEL, inputs(arrays), outputs=outputs(wanted), parameters=parameters or None, client_timeout=SECONDS
    )


def refusal_of(triton: Any, arrays: Mapping[str, Array], **parameters: Any) -> tuple[str, str]:
    """The status and the message of a call that must be refused."""
    with pytest.raises(InferenceServerException) as refused:
        infer(triton, arrays, **parameters)
    return refused.value.status(), refused.value.message()


def formula(q: Array, k: Array, v: Array) -> Array:
    """softmax(QKᵀ/√D)·V of (B, H, L, D), in float64."""
    q, k, v = (each.astype(np.float64) for each in (q, k, v))
    scores = q @ k.swapaxes(-1, -2) / np.sqrt(q.shape[-1])
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    answer: Array = weights / weights.sum(axis=-1, keepdims=True) @ v
    return answer


def random(seed: int, *shape: int, dtype: Any = np.float32) -> Array:
    numbers: Array = np.random.default_rng(seed).standard_normal(shape).astype(dtype)
    return numbers
