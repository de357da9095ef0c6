"""The choice of tokens: what the filters leave, what chance does, and what it may not depend on."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qkv_server.transformers.generation.sampling import (
    Logits,
    NotFiniteError,
    Sampler,
    Sampling,
    candidates,
    likeliest,
    log_probabilities,
    nucleus,
    penalized,
)

SEEDS = range(2000)


def logits_of(*probabilities: float) -> Logits:
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(np.array(probabilities)), np.float32)


def shares(logits: Logits, sampling: Sampling) -> list[float]:
    """How often each token comes first, over many seeds."""
    chosen = [Sampler(sampling, seed, len(logits)).choose(logits) for seed in SEEDS]
    return [count / len(SEEDS) for count in np.bincount(chosen, minlength=len(logits))]


def left(logits: Logits, sampling: Sampling) -> set[int]:
    """The tokens that the filters leave."""
    ids, _ = candidates((logits - logits.max()).astype(np.float32), sampling)
    return {int(token) for token in ids}


random_logits = st.lists(st.floats(-20, 20, width=32), min_size=1, max_size=200).map(
    lambda numbers: np.array(numbers, np.float32)
)


def test_the_default_takes_the_likeliest_and_of_equals_the_first() -> None:
    """Without a temperature there is no chance, and of equally likely tokens the first is taken."""
    logits = np.array([1, 3, 3, 2], np.float32)
    assert {Sampler(Sampling(), seed, 4).choose(logits) for seed in range(20)} == {1}


def test_tokens_come_as_often_as_they_are_likely() -> None:
    """At temperature 1 each token comes with its probability, within four standard errors."""
    expected = (0.1, 0.2, 0.3, 0.4)
    for share, probability in zip(shares(logits_of(*expected), Sampling(temperature=1)), expected, strict=True):
        assert abs(share - probability) < 4 * math.sqrt(probability * (1 - probability) / len(SEEDS))


def test_temperature_divides_the_logits() -> None:
    """At temperature 1/2 probabilities are squared, and made to sum to 1 again."""
    share = shares(logits_of(0.25, 0.75), Sampling(temperature=0.5))[0]
    assert abs(share - 0.1) < 4 * math.sqrt(0.1 * 0.9 / len(SEEDS))


@pytest.mark.parametrize("temperature", [1e-3, 1e-30, 5e-324])
def test_temperatures_near_zero_take_the_likeliest(temperature: float) -> None:
    """A temperature so small that quotients overflow is greedy, and no warning comes of it."""
    logits = np.array([-30, 5, 4.9, 30], np.float32)
    assert {Sampler(Sampling(temperature=temperature), seed, 4).choose(logits) for seed in range(20)} == {3}


def test_impossible_tokens_never_come() -> None:
    """A token of logit −inf has no chance, first or last in the vocabulary."""
    assert shares(logits_of(0, 0.5, 0.5, 0), Sampling(temperature=2))[::3] == [0, 0]


def test_filters_apply_one_after_the_other() -> None:
    """top-p counts the probabilities of what top-k has left, and min-p compares with the likeliest of what is left."""
    logits = logits_of(0.4, 0.3, 0.2, 0.1)
    assert left(logits, Sampling(temperature=1, top_k=2)) == {0, 1}
    assert left(logits, Sampling(temperature=1, top_p=0.5)) == {0, 1}
    assert left(logits, Sampling(temperature=1, top_k=2, top_p=0.5)) == {0}  # 0.4 is 0.57 of the two
    assert left(logits, Sampling(temperature=1, min_p=0.45)) == {0, 1, 2}
    assert left(logits, Sampling(temperature=1, top_k=2, min_p=0.45)) == {0, 1}


def test_a_nucleus_ends_with_the_token_that_reaches_the_share() -> None:
    """The token with which the sum reaches the share belongs to the nucleus; the likeliest does always."""
    weights = np.array([0.25, 0.5, 0.25])
    assert nucleus(weights, 0.5).tolist() == [1]
    assert nucleus(weights, 0.51).tolist() == [1, 0]
    assert nucleus(weights, 1e-9).tolist() == [1]


@given(random_logits, st.floats(0.01, 0.999))
def test_a_nucleus_is_that_of_a_full_sort(logits: Logits, share: float) -> None:
    """The nucleus, of which only the likeliest part is sorted, is that of the whole sorted."""
    weights = np.exp(logits.astype(np.float64))
    order = np.argsort(-weights, kind="stable")
    expected = order[: int(weights[order].cumsum().searchsorted(share * weights.sum())) + 1]
    assert nucleus(weights, share).tolist() == expected.tolist()


def test_a_wide_nucleus_is_found_beyond_the_first_sort() -> None:
    """Where all of 5,000 tokens are equally likely, half of them are the nucleus of one half."""
    assert nucleus(np.ones(5000), 0.5).tolist() == list(range(2500))


@given(random_logits, st.data())
def test_the_likeliest_are_those_of_a_full_sort(logits: Logits, data: st.DataObject) -> None:
    """The so many likeliest are the first of all sorted, equal ones in the order of the vocabulary."""
    count = data.draw(st.integers(1, len(logits)))
    assert likeliest(logits, count).tolist() == np.argsort(-logits, kind="stable")[:count].tolist()


def test_a_penalty_makes_seen_tokens_less_likely_whatever_their_sign() -> None:
    """A positive logit of a seen token is divided by the penalty, a negative one multiplied; others stay."""
    logits = np.array([2, -2, 2, -2], np.float32)
    assert penalized(logits, np.array([0, 1]), 4).tolist() == [0.5, -8, 2, -2]


def test_a_penalty_counts_the_prompt_and_the_answer() -> None:
    """Tokens of the prompt are penalized from the beginning, those of the answer from the next token on."""
    sampler = Sampler(Sampling(repetition_penalty=2), 0, 3, prompt=[0])
    logits = np.array([1.6, 1.0, 0.9], np.float32)
    assert [sampler.choose(logits) for _ in range(3)] == [1, 2, 0]
    assert logits.tolist() == np.array([1.6, 1.0, 0.9], np.float32).tolist()


@pytest.mark.parametrize("sampling", [Sampling(temperature=1), Sampling(temperature=0.7, top_k=20, top_p=0.9)])
def test_equal_seeds_choose_equally_and_others_do_not(sampling: Sampling) -> None:
    """A seed decides a whole answer; another seed decides another one."""
    logits = np.random.default_rng(1).standard_normal((30, 100)).astype(np.float32)

    def answer(seed: int) -> list[int]:
        sampler = Sampler(sampling, seed, 100)
        return [sampler.choose(row) for row in logits]

    assert answer(5) == answer(5)
    assert answer(5) != answer(2**64 - 1)


@pytest.mark.parametrize("broken", [math.nan, math.inf])
@pytest.mark.parametrize("sampling", [Sampling(), Sampling(temperature=1)])
def test_broken_logits_are_an_error(broken: float, sampling: Sampling) -> None:
    """Where a logit is not a number or infinite, no token is made up."""
    with pytest.raises(NotFiniteError, match="token 1"):
        Sampler(sampling, 0, 3).choose(np.array([1, broken, 2], np.float32))


def test_log_probabilities_are_of_the_models_own_distribution() -> None:
    """Log-probabilities are the logarithms of the probabilities, the likeliest first, and as many as were asked."""
    logits = logits_of(0.1, 0.6, 0.3) + np.float32(50)
    chosen, best = log_probabilities(logits, 2, 2)
    assert chosen.log_probability == pytest.approx(math.log(0.3), abs=1e-5)
    assert [one.id for one in best] == [1, 2]
    assert [one.log_probability for one in best] == pytest.approx([math.log(0.6), math.log(0.3)], abs=1e-5)
    assert log_probabilities(logits, 0, 0)[1] == []
    assert [one.id for one in log_probabilities(logits, 0, 99)[1]] == [1, 2, 0]
