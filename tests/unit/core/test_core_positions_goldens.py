"""Frequencies of rotary embedding, buckets of relative bias and slopes of ALiBi, as transformers computes them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from qkv_server.core import (
    DynamicNtkScaling,
    LinearScaling,
    Llama3Scaling,
    LongRopeScaling,
    YarnScaling,
)
from qkv_server.core.relative_bias import alibi_slopes, bucket
from qkv_server.core.rotary_scaling import Scaling

from .second_biases import bucket as exact_bucket

GOLDENS: dict[str, Any] = json.loads(
    (Path(__file__).parents[2] / "goldens" / "positions.json").read_text(encoding="utf-8")
)
FLOAT32_ROUNDING = 1e-6  # of a few operations
SCALINGS: dict[str, type[Scaling]] = {
    "linear": LinearScaling,
    "dynamic": DynamicNtkScaling,
    "yarn": YarnScaling,
    "longrope": LongRopeScaling,
    "llama3": Llama3Scaling,
}
NAMES = {  # the parameters of transformers that this core calls otherwise
    "original_max_position_embeddings": "original_length",
    "short_factor": "short_factors",
    "long_factor": "long_factors",
    "low_freq_factor": "low_frequency_factor",
    "high_freq_factor": "high_frequency_factor",
}


def scaling_of(case: dict[str, Any]) -> Scaling:
    return SCALINGS[case["rope_type"]](**{NAMES.get(name, name): value for name, value in case["parameters"].items()})


def test_every_rope_type_is_there() -> None:
    """No type of scaling is without figures."""
    assert {case["rope_type"] for case in GOLDENS["rotary"]} == set(SCALINGS)


@pytest.mark.parametrize("case", GOLDENS["rotary"], ids=lambda case: case["rope_type"])
def test_frequencies_and_amplitudes_are_those_of_transformers(case: dict[str, Any]) -> None:
    """Each scaling has transformers' inverse frequencies, to the rounding of its float32, and its attention factor."""
    scaling = scaling_of(case)
    frequencies = scaling.frequencies(case["base"], case["rotary_size"], case["sequence_length"])
    np.testing.assert_allclose(frequencies, case["inverse_frequencies"], rtol=FLOAT32_ROUNDING)
    assert scaling.amplitude == pytest.approx(case["attention_factor"], rel=1e-15)


@pytest.mark.parametrize(
    "case", GOLDENS["relative_buckets"], ids=lambda case: f"{case['buckets']}-{case['max_distance']}"
)
def test_buckets_are_those_of_transformers(case: dict[str, Any]) -> None:
    """Each distance is in T5's bucket: its float32 logarithms put none of these on the other side of a boundary."""
    first, buckets = GOLDENS["first_distance"], case["bucket"]
    distances = np.arange(first, first + len(buckets))
    np.testing.assert_array_equal(
        bucket(distances, case["buckets"], case["bidirectional"], case["max_distance"]), buckets
    )


@pytest.mark.parametrize("buckets", [2, 3, 4, 5, 8, 31, 32, 64])
@pytest.mark.parametrize("max_distance", [128, 129, 1000, 4096])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_bucket_boundaries_are_exact(buckets: int, max_distance: int, bidirectional: bool) -> None:
    """Around powers, where logarithms round, distances are in the bucket that whole numbers put them in."""
    each = buckets * (1 + bidirectional)
    near = np.unique([n + step for n in (1, 2, 4, 8, 16, 32, 64, 128, 1000, 4096, 2**31) for step in (-1, 0, 1)])
    distances = np.concatenate((-near, near))
    exact = [exact_bucket(int(distance), each, bidirectional, max_distance) for distance in distances]
    np.testing.assert_array_equal(bucket(distances, each, bidirectional, max_distance), exact)


@pytest.mark.parametrize("heads", range(1, 17))
def test_slopes_are_those_of_transformers(heads: int) -> None:
    """The paper's slopes for any number of heads are those of Bloom, to the rounding of its float32."""
    expected = GOLDENS["alibi_slopes"][heads - 1]
    assert len(expected) == heads
    np.testing.assert_allclose(alibi_slopes(heads), expected, rtol=FLOAT32_ROUNDING, strict=True)
