"""Packed attention is the core's attention of each sequence."""

import numpy as np
import pytest

from qkv_server.core import Problem, RelativeBias, Scoring, attention
from qkv_server.core.packed import LONGEST, packed_attention
from qkv_server.core.problem import Array

HEADS, SIZE, VALUE_SIZE = 3, 8, 5
LENGTHS = [[1], [7, 7, 7], [4, 0, 9, 9, 1], [130, 2], [LONGEST, LONGEST + 1], []]


def operands(lengths: list[int], gain: float = 1.0) -> tuple[Array, Array, Array]:
    """Query, key (N, H, D) and value (N, H, Dv), views of one array as projections make them."""
    random = np.random.default_rng(sum(lengths))
    packed = random.normal(size=(sum(lengths), HEADS, 2 * SIZE + VALUE_SIZE)).astype(np.float32)
    packed[..., : 2 * SIZE] *= gain
    return packed[..., :SIZE], packed[..., SIZE : 2 * SIZE], packed[..., 2 * SIZE :]


def packed(lengths: list[int], gain: float, scale: float, bias: RelativeBias | None = None) -> Array:
    query, key, value = operands(lengths, gain)
    out = np.full((len(query), HEADS, VALUE_SIZE), np.nan, np.float32)
    packed_attention(query, key, value, lengths, scale, out, bias)
    return out


def one_by_one(lengths: list[int], gain: float, scale: float, bias: RelativeBias | None = None) -> Array:
    """The answers of the core in float64."""
    arrays = [array.astype(np.float64) for array in operands(lengths, gain)]
    out, begin = np.empty((sum(lengths), HEADS, VALUE_SIZE)), 0
    for length in filter(None, lengths):
        tokens = slice(begin, begin := begin + length)
        query, key, value = (array[None, tokens].swapaxes(1, 2) for array in arrays)
        problem = Problem(query=query, key=key, value=value, scoring=Scoring(scale=scale, relative_bias=bias))
        out[tokens] = attention(problem).output[0].swapaxes(0, 1)
    return out


@pytest.mark.parametrize("lengths", LENGTHS, ids=str)
@pytest.mark.parametrize("scale", [SIZE**-0.5, 1.0])
def test_each_sequence_is_attended_alone(lengths: list[int], scale: float) -> None:
    """Every sequence, short or long, gets the answer that the core gives it by itself in float64."""
    np.testing.assert_allclose(packed(lengths, 1, scale), one_by_one(lengths, 1, scale), rtol=0, atol=3e-6)


@pytest.mark.parametrize("gain", [10, 30])
def test_scores_may_lie_far_apart(gain: float) -> None:
    """Rows whose weights vanish under the shift of their head are answered as exactly as the others."""
    lengths = [40, 40, 9]
    scores = np.einsum("ihd,jhd->hij", *operands(lengths, gain)[:2])
    assert np.ptp(scores.max(axis=-1), axis=-1).min() > 88  # float32 exponentials of 88 below the largest are 0
    answer, expected = packed(lengths, gain, 1.0), one_by_one(lengths, gain, 1.0)
    np.testing.assert_allclose(answer, expected, rtol=0, atol=2e-5 * gain)  # of scores of 100·gain rounded to float32


def test_relative_bias_is_added() -> None:
    """With a relative bias every sequence gets the answer of the core with it."""
    bias = RelativeBias(table=np.random.default_rng(0).normal(size=(8, HEADS)).astype(np.float32), bidirectional=True)
    np.testing.assert_allclose(packed([5, 12], 1, 1.0, bias), one_by_one([5, 12], 1, 1.0, bias), rtol=0, atol=3e-6)


def test_company_changes_no_bit() -> None:
    """A sequence is answered with the same bits alone, beside others of its length, and of other lengths."""
    query, key, value = operands([20, 20, 20, 3])

    def answer(begin: int, end: int, lengths: list[int]) -> Array:
        out = np.empty((end - begin, HEADS, VALUE_SIZE), np.float32)
        packed_attention(query[begin:end], key[begin:end], value[begin:end], lengths, 0.3, out)
        return out

    together = answer(0, 63, [20, 20, 20, 3])
    assert (together[20:40] == answer(20, 40, [20])).all()
    assert (together[40:63] == answer(40, 63, [20, 3])).all()


def test_nan_stays_in_its_sequence() -> None:
    """A NaN in one sequence is in the answer of that head of that sequence, and in no other."""
    query, key, value = (array.copy() for array in operands([6, 6, 6]))
    key[8, 1, 0] = np.nan
    out = np.empty((18, HEADS, VALUE_SIZE), np.float32)
    packed_attention(query, key, value, [6, 6, 6], 0.3, out)
    assert np.isnan(out[6:12, 1]).all()
    out[6:12, 1] = 0
    assert np.isfinite(out).all()
