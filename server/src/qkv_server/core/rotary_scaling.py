"""How the frequencies of rotary embedding are changed for sequences longer than those of the training.

Names and formulas are those of the rope types of Hugging Face's transformers; each class names its paper.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Frequencies = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True)
class LinearScaling:
    """Positions are divided by the factor ("Extending Context Window", Chen et al., 2023)."""

    factor: float

    def frequencies(self, base: float, size: int, length: int) -> Frequencies:  # noqa: ARG002 - not of every length
        """Radians a position of each of the size / 2 pairs of features."""
        return unscaled(base, size) / self.factor

    @property
    def amplitude(self) -> float:
        """The factor of sines and cosines."""
        return 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class DynamicNtkScaling:
    """The base grows with the length of the sequence."""

    factor: float
    original_length: int

    def frequencies(self, base: float, size: int, length: int) -> Frequencies:
        """As `LinearScaling.frequencies`; `length` is that of the sequence."""
        stretch = self.factor * max(length, self.original_length) / self.original_length - (self.factor - 1)
        return unscaled(base * np.float64(stretch) ** (size / (size - 2)), size)

    @property
    def amplitude(self) -> float:
        """As `LinearScaling.amplitude`."""
        return 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class YarnScaling:
    """High frequencies are left, low ones divided, those between blended ("YaRN", Peng et al., 2023)."""

    factor: float
    original_length: int
    beta_fast: float = 0.0  # turns within original_length from which on a frequency is left; 0 is 32
    beta_slow: float = 0.0  # turns up to which it is divided; 0 is 1
    attention_factor: float | None = None  # None: 0.1·ln(factor) + 1
    truncate: bool | None = None  # None: true

    def frequencies(self, base: float, size: int, length: int) -> Frequencies:  # noqa: ARG002 - not of every length
        """As `LinearScaling.frequencies`."""

        def pair_that_turns(times: float) -> float:
            turns = math.log(self.original_length) - math.log(times) - math.log(2 * math.pi)
            return size * turns / (2 * math.log(base))

        first, last = map(pair_that_turns, self.turns())
        if self.truncate is not False:
            first, last = math.floor(first), math.ceil(last)
        first, last = max(first, 0), min(last, size - 1)
        divided = np.clip((np.arange(size // 2) - first) / (last - first or 0.001), 0, 1)
        frequencies = unscaled(base, size)
        blended: Frequencies = frequencies / self.factor * divided + frequencies * (1 - divided)
        return blended

    def turns(self) -> tuple[float, float]:
        """Between which numbers of turns within original_length frequencies are blended: fast and slow."""
        return self.beta_fast or 32.0, self.beta_slow or 1.0

    @property
    def amplitude(self) -> float:
        """As `LinearScaling.amplitude`."""
        return self.attention_factor if self.attention_factor is not None else 0.1 * math.log(self.factor) + 1


@dataclass(frozen=True, kw_only=True, slots=True)
class LongRopeScaling:
    """Each frequency is divided by a factor of its own ("LongRoPE", Ding et al., 2024)."""

    short_factors: Sequence[float]  # size / 2 of them
    long_factors: Sequence[float]  # size / 2 of them, for sequences longer than original_length
    original_length: int
    factor: float = 0.0  # the longest sequence that is served over original_length; 0 is 1
    attention_factor: float | None = None  # None: √(1 + ln(factor) / ln(original_length))

    def frequencies(self, base: float, size: int, length: int) -> Frequencies:
        """As `LinearScaling.frequencies`; `length` is that of the sequence."""
        factors = self.long_factors if length > self.original_length else self.short_factors
        return unscaled(base, size) / np.asarray(factors, np.float64)

    @property
    def amplitude(self) -> float:
        """As `LinearScaling.amplitude`."""
        if self.attention_factor is not None:
            return self.attention_factor
        return math.sqrt(1 + math.log(self.factor) / math.log(self.original_length)) if self.factor > 1 else 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Llama3Scaling:
    """Low frequencies are divided, high ones left, those between blended (Llama 3.1)."""

    factor: float
    low_frequency_factor: float
    high_frequency_factor: float
    original_length: int

    def frequencies(self, base: float, size: int, length: int) -> Frequencies:  # noqa: ARG002 - not of every length
        """As `LinearScaling.frequencies`."""
        frequencies = unscaled(base, size)
        turns = self.original_length * frequencies / (2 * math.pi)
        low, high = self.low_frequency_factor, self.high_frequency_factor
        left = np.clip((turns - low) / (high - low), 0, 1)
        blended: Frequencies = frequencies / self.factor * (1 - left) + frequencies * left
        return blended

    @property
    def amplitude(self) -> float:
        """As `LinearScaling.amplitude`."""
        return 1.0


Scaling = LinearScaling | DynamicNtkScaling | YarnScaling | LongRopeScaling | Llama3Scaling


def unscaled(base: float, size: int) -> Frequencies:
    """The frequencies base^(−2i / size), as "RoFormer" has them."""
    frequencies: Frequencies = np.power(base, -np.arange(0, size, 2) / size)
    return frequencies
