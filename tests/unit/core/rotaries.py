"""Hypothesis strategies of rotary position embedding: sizes, pairings, positions and every scaling."""

import numpy as np
from hypothesis import strategies as st

from qkv_server.core import (
    DynamicNtkScaling,
    LinearScaling,
    Llama3Scaling,
    LongRopeScaling,
    Rotary,
    RotaryPairing,
    YarnScaling,
)
from qkv_server.core.problem import Array
from qkv_server.core.rotary_scaling import Scaling

from .arrays import Numbers, Sizes

FACTORS = st.floats(1, 8)
LENGTHS = st.integers(2, 12)  # of the training: the sequences that are drawn are shorter and longer


def rotaries(draw: st.DrawFn, sizes: Sizes, head_size: int, numbers: Numbers) -> Rotary:
    """Any rotation of heads of at least 2 features."""
    whole = (0,) if head_size % 2 == 0 else ()
    rotary_size = draw(st.sampled_from((*whole, *range(2, head_size + 1, 2))))
    return Rotary(
        base=draw(st.just(0.0) | st.floats(1.5, 1e6)),
        rotary_size=rotary_size,
        pairing=draw(st.sampled_from(RotaryPairing)),
        query_positions=_positions(draw, sizes.batch, sizes.queries, numbers),
        key_positions=_positions(draw, sizes.batch, sizes.new_keys, numbers),
        sequence_length=draw(st.just(0) | st.integers(1, 30)),
        scaling=draw(scalings(rotary_size or head_size)),
    )


def scalings(size: int) -> st.SearchStrategy[Scaling | None]:
    """None, or a scaling of the size / 2 frequencies."""
    amplitudes = st.none() | st.floats(0.5, 2)
    each = st.lists(st.floats(0.5, 8), min_size=size // 2, max_size=size // 2)
    strategies: list[st.SearchStrategy[Scaling | None]] = [
        st.none(),
        st.builds(LinearScaling, factor=FACTORS),
        st.builds(
            YarnScaling,
            factor=FACTORS,
            original_length=LENGTHS,
            beta_fast=st.just(0.0) | st.floats(1, 8),
            beta_slow=st.just(0.0) | st.floats(0.05, 1),
            attention_factor=amplitudes,
            truncate=st.none() | st.booleans(),
        ),
        st.builds(
            LongRopeScaling,
            short_factors=each,
            long_factors=each,
            original_length=LENGTHS,
            factor=st.just(0.0) | FACTORS,
            attention_factor=amplitudes,
        ),
        st.builds(
            Llama3Scaling,
            factor=FACTORS,
            low_frequency_factor=st.floats(0.25, 1),
            high_frequency_factor=st.floats(1.5, 4),
            original_length=LENGTHS,
        ),
    ]
    if size > 2:
        strategies.append(st.builds(DynamicNtkScaling, factor=FACTORS, original_length=LENGTHS))
    return st.one_of(strategies)


def _positions(draw: st.DrawFn, batch: int, length: int, numbers: Numbers) -> Array | None:
    """Positions of one sequence for all batch rows, or of each, or none."""
    shape = draw(st.sampled_from((None, (length,), (batch, length))))
    dtype = draw(st.sampled_from((np.int64, np.int32)))
    return None if shape is None else numbers.generator.integers(0, 25, shape).astype(dtype)
