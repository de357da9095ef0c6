"""Rotary position embedding a second time: one pair of features at a time, with every scaling.

Every rule here is read from the comments of `protos/qkv/v1/attention.proto` and, where they name them, from the rope
types of transformers; of the core only the question is used.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

from qkv_server.core import (
    DynamicNtkScaling,
    LinearScaling,
    Llama3Scaling,
    LongRopeScaling,
    Problem,
    Rotary,
    RotaryPairing,
    YarnScaling,
)
from qkv_server.core.problem import Array

from .second_positions import Lengths, key_position, place, valid, valid_keys

Vector = list[float]
Rows = list[list[list[Vector]]]  # [batch row][head][position]


@dataclass(frozen=True)
class Turn:
    """How the vectors of a problem are turned."""

    problem: Problem
    rotary: Rotary
    lengths: Lengths
    size: int  # of the features that turn

    def queries(self, rows: Rows) -> Rows:
        return self._turned(rows, self._query_position)

    def new_keys(self, rows: Rows) -> Rows:
        return self._turned(rows, self._key_position)

    def _turned(self, rows: Rows, position: Callable[[int, int], int]) -> Rows:
        of_all = frequencies(self.rotary, self.size, self.rotary.sequence_length or self._sequence_length())
        return [
            [[_turn(self.rotary, x, position(b, n), of_all) for n, x in enumerate(head)] for head in row]
            for b, row in enumerate(rows)
        ]

    def _query_position(self, b: int, i: int) -> int:
        given = self.rotary.query_positions
        return place(self.problem, self.lengths, b, i).position if given is None else _entry(given, b, i)

    def _key_position(self, b: int, j: int) -> int:
        given = self.rotary.key_positions
        return key_position(self.problem, self.lengths, j) if given is None else _entry(given, b, j)

    def _sequence_length(self) -> int:
        """The largest position of a valid query or key of any batch row, plus 1; 0 if there is none."""
        lengths, visibility = self.lengths, self.problem.visibility
        positions = [-1]
        for b in range(lengths.batch):
            queries = range(valid(visibility.query_lengths, b, lengths.queries))
            new_keys = range(valid_keys(self.problem, lengths, b) - lengths.past)
            positions += [self._query_position(b, i) for i in queries]
            positions += [self._key_position(b, j) for j in new_keys]
        return max(positions) + 1


def frequencies(rotary: Rotary, size: int, length: int) -> Vector:
    """Radians a position of each pair of `size` features, for a sequence of a length."""
    base, scaling = rotary.base or 10000.0, rotary.scaling
    if isinstance(scaling, DynamicNtkScaling):
        longest = max(length, scaling.original_length)
        stretch = scaling.factor * longest / scaling.original_length - (scaling.factor - 1)
        base *= stretch ** (size / (size - 2))
    plain = [base ** (-2 * i / size) for i in range(size // 2)]
    match scaling:
        case LinearScaling():
            return [frequency / scaling.factor for frequency in plain]
        case YarnScaling():
            return [
                frequency * (1 - share) + frequency / scaling.factor * share
                for frequency, share in zip(plain, _yarn_shares(scaling, base, size), strict=True)
            ]
        case LongRopeScaling():
            factors = scaling.short_factors if length <= scaling.original_length else scaling.long_factors
            return [frequency / factor for frequency, factor in zip(plain, factors, strict=True)]
        case Llama3Scaling():
            return [_llama3(scaling, frequency) for frequency in plain]
    return plain


def amplitude(rotary: Rotary) -> float:
    """The factor of sines and cosines."""
    match rotary.scaling:
        case YarnScaling(attention_factor=None, factor=factor):
            return 0.1 * math.log(factor) + 1
        case LongRopeScaling(attention_factor=None, factor=factor, original_length=original_length):
            return math.sqrt(1 + math.log(factor) / math.log(original_length)) if factor > 1 else 1.0
        case YarnScaling(attention_factor=float(given)) | LongRopeScaling(attention_factor=float(given)):
            return given
    return 1.0


def _turn(rotary: Rotary, x: Vector, position: int, of_all: Vector) -> Vector:
    turned = list(x)
    for pair, frequency in enumerate(of_all):
        half_split = rotary.pairing is RotaryPairing.HALF_SPLIT
        one, other = (pair, pair + len(of_all)) if half_split else (2 * pair, 2 * pair + 1)
        cosine, sine = (amplitude(rotary) * turn(position * frequency) for turn in (math.cos, math.sin))
        turned[one] = x[one] * cosine - x[other] * sine
        turned[other] = x[one] * sine + x[other] * cosine
    return turned


def _entry(positions: Array, b: int, n: int) -> int:
    return int(positions[n] if positions.ndim == 1 else positions[b, n])


def _yarn_shares(scaling: YarnScaling, base: float, size: int) -> Vector:
    """How far each frequency is on the way from left alone, 0, to divided, 1."""

    def pair_of(turns: float) -> float:
        """The pair, of which there are size / 2, that turns so often within the length of the training."""
        return size * math.log(scaling.original_length / (2 * math.pi * turns)) / (2 * math.log(base))

    begin, end = pair_of(scaling.beta_fast or 32.0), pair_of(scaling.beta_slow or 1.0)
    if scaling.truncate in (None, True):
        begin, end = math.floor(begin), math.ceil(end)
    begin, end = max(begin, 0), min(end, size - 1)
    if begin == end:
        end += 0.001
    return [min(max((i - begin) / (end - begin), 0.0), 1.0) for i in range(size // 2)]


def _llama3(scaling: Llama3Scaling, frequency: float) -> float:
    wavelength = 2 * math.pi / frequency
    low, high = scaling.low_frequency_factor, scaling.high_frequency_factor
    if wavelength > scaling.original_length / low:
        return frequency / scaling.factor
    if wavelength < scaling.original_length / high:
        return frequency
    left = (scaling.original_length / wavelength - low) / (high - low)
    return (1 - left) * frequency / scaling.factor + left * frequency
