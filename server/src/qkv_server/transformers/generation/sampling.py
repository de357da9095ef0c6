"""How the next token of a stream is chosen from its logits.

The order of the steps is that of `Sampling` in the contract: repetition penalty, temperature, then the filters top-k,
top-p and min-p, each on what the one before it has left. What a stream chooses depends on its own logits, its settings
and its seed alone, so it is the same in any company.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Logits = NDArray[np.float32]
Ids = NDArray[np.intp]

SMALLEST_TEMPERATURE = float(np.finfo(np.float32).tiny)
FEWEST_SORTED = 64  # candidates that top-p sorts first: most nuclei are smaller


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """Settings of the choice; the defaults take the likeliest token and no chance."""

    temperature: float = 0.0  # divisor of logits; 0: the likeliest
    repetition_penalty: float = 1.0  # CTRL, Keskar et al., 2019, section 4.1
    top_k: int = 0  # of all, the so many likeliest (Fan et al., 2018); 0: all
    top_p: float = 1.0  # of these, the fewest likeliest that make so much (nucleus, Holtzman et al., 2020)
    min_p: float = 0.0  # of these, the ones at least so likely as the likeliest times this (Nguyen et al., 2024)

    @property
    def random(self) -> bool:
        """Whether there is any chance in the choice."""
        return self.temperature > 0


class LogProbability(NamedTuple):
    """A token and the natural logarithm of its probability."""

    id: int
    log_probability: float


class NotFiniteError(ArithmeticError):
    """A model's logits have no largest finite number: its weights, or the arithmetic on them, are broken."""


class Sampler:
    """Chooses the tokens of one stream, one after the other."""

    def __init__(self, sampling: Sampling, seed: int | None, vocabulary_size: int, prompt: Sequence[int] = ()) -> None:
        """`prompt` are the tokens that came before; `seed` is any number from 0, None where there is no chance.

        A prompt may have tokens that are none of the vocabulary, such as the beginning of some decoders.
        """
        self._sampling = sampling
        self._uniform = np.random.Generator(np.random.Philox(seed)) if sampling.random else None
        self._seen: NDArray[np.bool_] | None = None
        if sampling.repetition_penalty != 1.0:
            self._seen = np.zeros(vocabulary_size, bool)
            self._seen[[token for token in prompt if token < vocabulary_size]] = True

    def choose(self, logits: Logits, likeliest: int | None = None) -> int:
        """The next token, given the logits (V,), which stay as they are, and their largest if it is known.

        Of equals the largest is the first; where there is a NaN, it is. Raises NotFiniteError.
        """
        own = logits
        if self._seen is not None:
            own, likeliest = penalized(logits, np.flatnonzero(self._seen), self._sampling.repetition_penalty), None
        if likeliest is None:
            likeliest = int(own.argmax())
        if not np.isfinite(own[likeliest]):
            raise NotFiniteError(f"the largest logit, of token {likeliest}, is {own[likeliest]}")
        chosen = likeliest if self._uniform is None else self._draw(own, float(own[likeliest]), self._uniform)
        if self._seen is not None:
            self._seen[chosen] = True
        return chosen

    def _draw(self, logits: Logits, largest: float, uniform: np.random.Generator) -> int:
        """A token by chance, one number of the generator for each."""
        scaled = np.subtract(logits, largest, dtype=np.float32)
        with np.errstate(over="ignore"):  # at temperatures near 0, −inf is as good as what would have been exact
            scaled /= np.float32(max(self._sampling.temperature, SMALLEST_TEMPERATURE))
        ids, weights = candidates(scaled, self._sampling)
        sums = weights.cumsum()
        below = np.nextafter(sums[-1], 0.0)  # the product may be rounded up to the last sum, behind which is no token
        return int(ids[sums.searchsorted(min(uniform.random() * sums[-1], below), side="right")])


def penalized(logits: Logits, seen: Ids, penalty: float) -> Logits:
    """The logits (V,) with those of tokens that were seen divided by the penalty if positive, else multiplied."""
    own = logits.copy()
    of_seen = own[seen]
    own[seen] = np.where(of_seen > 0, of_seen / np.float32(penalty), of_seen * np.float32(penalty))
    return own


def candidates(scaled: Logits, sampling: Sampling) -> tuple[Ids, NDArray[np.float64]]:
    """The tokens that the filters leave, and their weights, which are proportional to probabilities.

    `scaled` (V,) are logits after penalty and temperature, of which the largest is 0. Of equally likely tokens those
    with lower numbers come first.
    """
    ids = likeliest(scaled, sampling.top_k) if 0 < sampling.top_k < len(scaled) else np.arange(len(scaled))
    weights = np.exp(scaled[ids]).astype(np.float64)
    if sampling.top_p < 1:
        kept = nucleus(weights, sampling.top_p)
        ids, weights = ids[kept], weights[kept]
    if sampling.min_p > 0:
        kept = np.flatnonzero(weights >= sampling.min_p * weights.max())
        ids, weights = ids[kept], weights[kept]
    return ids, weights


def nucleus(weights: NDArray[np.float64], share: float) -> Ids:
    """The fewest largest of the weights (n,) that make the share of their sum, the largest first."""
    wanted, count = share * weights.sum(), FEWEST_SORTED
    while True:
        first = likeliest(weights, count) if count < len(weights) else np.argsort(-weights, kind="stable")
        sums = weights[first].cumsum()
        if sums[-1] >= wanted or len(first) == len(weights):
            return first[: int(sums.searchsorted(wanted)) + 1]
        count *= 8


def likeliest(values: NDArray[Any], count: int) -> Ids:
    """The places of the `count` largest values (n,), the largest first and equal ones in order. 0 < count ≤ n."""
    least = np.partition(values, len(values) - count)[len(values) - count]
    places = np.flatnonzero(values >= least)  # more than `count` where several equal the least
    return places[np.argsort(-values[places], kind="stable")][:count]


def log_probabilities(logits: Logits, chosen: int, count: int) -> tuple[LogProbability, list[LogProbability]]:
    """The log-probability of the chosen token, and those of the `count` likeliest: of the model's own distribution.

    `logits` (V,) are those of the model, which no setting has changed.
    """
    largest = logits.max()
    normalizer = float(largest) + float(np.log(np.exp(logits - largest).sum(dtype=np.float64)))

    def of(token: int) -> LogProbability:
        return LogProbability(token, float(logits[token]) - normalizer)

    return of(chosen), [of(int(token)) for token in likeliest(logits, min(count, len(logits)))] if count else []
