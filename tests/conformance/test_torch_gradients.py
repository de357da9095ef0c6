"""Eight attention calls whose gradients PyTorch computed in float64, asked over a socket."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import qkv

Array = npt.NDArray[Any]

GOLDENS = Path(__file__).parent.parent / "goldens"
ARRAYS = np.load(GOLDENS / "torch_attention.npz")
CASES = [case for case in json.loads((GOLDENS / "torch_attention.json").read_text()) if case["name"].startswith("grad")]


def as_call(arrays: dict[str, Array], config: dict[str, Any]) -> dict[str, Any]:
    """The options of `Client.differentiate` for the call that PyTorch differentiated."""
    return {
        "mask": arrays.get("attn_mask"),
        "causal": config.get("causal", False),
        "scale": config.get("scale"),
        "softcap": config.get("softcap"),
    }


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_differentiates_as_torch_did(case: dict[str, Any], client: qkv.Client) -> None:
    """The gradients of query, key, value and floating mask agree with PyTorch's to 1e-10 in float64."""
    prefix = f"{case['name']}/"
    arrays: dict[str, Array] = {
        name.removeprefix(prefix): ARRAYS[name] for name in ARRAYS.files if name.startswith(prefix)
    }
    result = client.differentiate(
        arrays["d_output"], arrays["query"], arrays["key"], arrays["value"], **as_call(arrays, case["config"])
    )
    for name in ("d_query", "d_key", "d_value", "d_mask"):
        gradient = getattr(result, name)
        if name not in arrays:
            assert gradient is None
            continue
        assert gradient.dtype == np.float64
        assert gradient.shape == arrays[name].shape
        np.testing.assert_allclose(gradient, arrays[name], rtol=1e-10, atol=1e-10)
