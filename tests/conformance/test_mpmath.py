"""float64 answers on adversarial inputs, against 50 decimal digits (mpmath), asked over a socket by every path.

The error of an answer is the largest of these:
- output and weights: max |answer − exact| / max |exact|, both over one row (a query of a head);
- each weight above 1e-290: |weight − exact| / exact;
- log-sum-exp: |answer − exact| / |exact|.
"""

import functools
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from conformance.mpmath_attention import ARITHMETIC, Number, Row, attend

import qkv

Array = npt.NDArray[Any]
Call = dict[str, Any]  # the arguments of `Client.attention`

LARGEST_ERROR = 1e-13
SMALLEST_WEIGHT = 1e-290  # denormal numbers, below 2e-308, have fewer digits, and so have what is made of them
PATHS = ("reference", "batched", "tiled", "decode")
CASES: dict[str, Callable[[np.random.Generator], Call]] = {}


def case(make: Callable[[np.random.Generator], Call]) -> Callable[[np.random.Generator], Call]:
    """Enter a case by the name of the function that makes it."""
    CASES[make.__name__] = make
    return make


def operands(generator: np.random.Generator, queries: int, keys: int, head_size: int, heads: int = 1) -> Call:
    """Normal numbers: query (1, heads, queries, head_size), key, and value with 5 features."""
    return {
        "query": generator.standard_normal((1, heads, queries, head_size)),
        "key": generator.standard_normal((1, heads, keys, head_size)),
        "value": generator.standard_normal((1, heads, keys, 5)),
    }


def near(
    generator: np.random.Generator, level: float, *, queries: int, keys: int, head_size: int, heads: int = 1
) -> Call:
    """Operands whose scores all lie near a level, some units apart, so that every weight tells how exact they are."""
    call = operands(generator, queries, keys, head_size, heads)
    direction = generator.standard_normal(head_size)
    direction *= np.sqrt(abs(level) * np.sqrt(head_size)) / np.linalg.norm(direction)  # direction² / √D = |level|
    unit = np.sqrt(head_size) / np.linalg.norm(direction)
    call["query"] = direction * np.sign(level) + 0.01 * unit * call["query"]
    call["key"] = direction + unit * call["key"]
    return call


@case
def scores_of_1e4(generator: np.random.Generator) -> Call:
    return near(generator, 1e4, queries=3, keys=100, head_size=24)


@case
def scores_of_1e5(generator: np.random.Generator) -> Call:
    return near(generator, 1e5, queries=3, keys=100, head_size=80)


@case
def scores_of_minus_1e5(generator: np.random.Generator) -> Call:
    return near(generator, -1e5, queries=20, keys=70, head_size=7)


@case
def scores_of_1e5_far_apart(generator: np.random.Generator) -> Call:
    return operands(generator, 4, 200, 3) | {"scale": 1e5}


@case
def scores_that_underflow(generator: np.random.Generator) -> Call:
    """Weights down to the smallest numbers, each exact."""
    return operands(generator, 4, 300, 6) | {"scale": 75.0}


@case
def scores_of_terms_that_cancel(generator: np.random.Generator) -> Call:
    """Terms of ±1e5 whose sum is of order 1."""
    call = operands(generator, 3, 90, 12)
    call["query"][..., 1] = call["query"][..., 0]
    call["key"][..., 0] *= 1e5
    call["key"][..., 1] = -call["key"][..., 0]
    return call


@case
def features_of_unlike_magnitudes(generator: np.random.Generator) -> Call:
    """Half of the features a billion times larger in the query and smaller in the key; terms of few bits."""
    call = near(generator, 1e4, queries=3, keys=60, head_size=16)
    for name, factor in (("query", 2.0**30), ("key", 2.0**-30)):
        call[name] = np.rint(call[name] * 1024) / 1024
        call[name][..., ::2] *= factor
    return call


@case
def keys_that_differ_in_their_last_bits(generator: np.random.Generator) -> Call:
    call = near(generator, 1e5, queries=3, keys=64, head_size=10)
    steps = generator.integers(-8, 9, call["key"].shape)
    call["key"] = call["key"][:, :, :1] * (1 + steps * np.finfo(np.float64).eps)
    return call


@case
def many_keys(generator: np.random.Generator) -> Call:
    return operands(generator, 3, 4096, 96) | {"scale": 0.5}


@case
def many_keys_with_scores_of_1e4(generator: np.random.Generator) -> Call:
    return near(generator, 1e4, queries=2, keys=4096, head_size=24)


@case
def denormal_queries(generator: np.random.Generator) -> Call:
    call = operands(generator, 3, 50, 5)
    return call | {"query": call["query"] * 1e-310, "key": call["key"] * 1e300, "scale": 3e10}


@case
def denormal_keys(generator: np.random.Generator) -> Call:
    call = operands(generator, 3, 50, 5)
    return call | {"query": call["query"] * 3e307, "key": call["key"] * 1e-308, "scale": 1.0}


@case
def denormal_values(generator: np.random.Generator) -> Call:
    call = operands(generator, 3, 50, 5)
    return call | {"value": call["value"] * 1e-310}


@case
def scores_that_overflow_before_the_scale(generator: np.random.Generator) -> Call:
    """A denormal scale brings products of 1e320 back to ordinary scores."""
    call = operands(generator, 3, 50, 5)
    return call | {"query": call["query"] * 1e160, "key": call["key"] * 1e160, "scale": 2e-320}


@case
def scores_that_underflow_before_the_scale(generator: np.random.Generator) -> Call:
    call = operands(generator, 3, 50, 5)
    return call | {"query": call["query"] * 1e-160, "key": call["key"] * 1e-149, "scale": -1e308}


@case
def queries_that_overflow_with_the_scale(generator: np.random.Generator) -> Call:
    call = operands(generator, 3, 50, 5)
    return call | {"query": call["query"] * 1e300, "key": call["key"] * 1e-312, "scale": 3e12}


@case
def scores_of_nothing(generator: np.random.Generator) -> Call:
    return operands(generator, 3, 1000, 5) | {"scale": 1e-300}


@case
def huge_values(generator: np.random.Generator) -> Call:
    """Values near the largest number, whose mean is finite though their sum is not."""
    call = operands(generator, 3, 60, 3)
    return call | {"value": 1e307 * (1 + np.abs(call["value"]))}


@case
def large_values_of_large_scores(generator: np.random.Generator) -> Call:
    call = near(generator, 500, queries=3, keys=60, head_size=3)
    return call | {"value": call["value"] * 1e120}


@case
def small_values_of_small_scores(generator: np.random.Generator) -> Call:
    call = near(generator, -500, queries=3, keys=60, head_size=3)
    return call | {"value": call["value"] * 1e-120}


@case
def softcap_that_saturates(generator: np.random.Generator) -> Call:
    return operands(generator, 3, 120, 6) | {"scale": 40.0, "softcap": 30.0}


@case
def softcap_that_bends(generator: np.random.Generator) -> Call:
    """Scores about as large as a cap that models have; float64's tanh is right to 1e-16, and so the scores to 5e-15."""
    return near(generator, 40, queries=3, keys=100, head_size=24) | {"softcap": 50.0}


@case
def mask_that_lifts_scores_of_1e4(generator: np.random.Generator) -> Call:
    """Biases of ±1e4 that cancel scores of ∓1e4 down to order 1, and some that hide."""
    call = operands(generator, 3, 90, 6) | {"scale": 5e3}
    scores = 5e3 * (call["query"] @ call["key"].swapaxes(-1, -2))[0]
    mask = generator.standard_normal(scores.shape) - scores
    return call | {"mask": np.where(generator.random(scores.shape) < 0.8, mask, -np.inf)}


@case
def mask_that_all_but_hides(generator: np.random.Generator) -> Call:
    call = operands(generator, 20, 90, 6)
    return call | {"mask": np.where(generator.random((20, 90)) < 0.5, 0.0, -1e30)}


@case
def causal_scores_of_1e4(generator: np.random.Generator) -> Call:
    call = near(generator, 1e4, queries=40, keys=48, head_size=10)
    return call | {"causal": True, "alignment": "bottom_right"}


@case
def sinks_among_scores_of_1e4(generator: np.random.Generator) -> Call:
    call = near(generator, 1e4, queries=3, keys=40, head_size=10, heads=3)
    return call | {"sinks": 1e4 + np.array([0.1, 7.3, -5.7])}


@case
def sinks_that_take_all(generator: np.random.Generator) -> Call:
    return operands(generator, 3, 40, 10, heads=3) | {"sinks": np.array([500.0, 300.0, -500.0])}


@functools.cache
def exact(name: str) -> tuple[Call, dict[tuple[int, int], Row]]:
    """The call of a case, and its answer in 50 digits."""
    call = CASES[name](np.random.default_rng(list(name.encode())))
    return call, attend(**{option: given for option, given in call.items() if option != "alignment"})


def errors(result: qkv.AttentionResult, rows: dict[tuple[int, int], Row]) -> Iterator[float]:
    """Every error of an answer that the head of this file defines."""
    assert result.weights is not None
    assert result.log_sum_exp is not None
    for (head, index), row in rows.items():
        at = (0, head, index)
        yield of_row(result.output[at], row.output)
        yield of_row(result.weights[at], row.weights)
        for answered, weight in zip(result.weights[at], row.weights, strict=True):
            if weight > SMALLEST_WEIGHT:
                yield relative(answered, weight)
        yield relative(result.log_sum_exp[at], row.log_sum_exp)


def of_row(answered: Array, row: Sequence[Number]) -> float:
    """The error of one row; its max |exact| counts as normal at least, for the numbers below are equally far apart."""
    largest = max(sys.float_info.min, *(abs(number) for number in row))
    return float(np.max([float(abs(a - e) / largest) for a, e in zip(exactly(answered), row, strict=True)]))


def relative(answered: float, number: Number) -> float:
    (same,) = exactly([answered])
    return float(abs(same - number) / abs(number))


def exactly(numbers: "Sequence[float] | Array") -> list[Number]:
    return [ARITHMETIC.mpf(float(number)) for number in numbers]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("name", CASES)
def test_answers_to_1e13(name: str, path: Any, client: qkv.Client, record: Callable[[float], None]) -> None:
    """Output, weights and log-sum-exp are within 1e-13 of the exact ones."""
    call, rows = exact(name)
    result = client.attention(**call, outputs=["weights", "log_sum_exp"], path=path)
    assert result.output.dtype == np.float64
    largest = np.max(list(errors(result, rows)))  # NaN if one is
    record(largest)
    assert largest <= LARGEST_ERROR
