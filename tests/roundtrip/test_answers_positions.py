"""Every option that goes by positions reaches the core: the answer over a socket is the core's to the last bit."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import qkv
from qkv_server import core

Array = npt.NDArray[Any]

TOP_LEFT = core.Alignment.TOP_LEFT
LONG = {"factor": 2.0, "original_length": 4}


@dataclass(frozen=True)
class Asked:
    """One question, as the client is asked it and as the core is: options, and the parts of a Problem."""

    options: dict[str, Any]
    visibility: dict[str, Any] = field(default_factory=dict)
    scoring: dict[str, Any] = field(default_factory=dict)
    rotary: core.Rotary | None = None


def normal(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng((seed, *shape)).standard_normal(shape)


BLOCKS = normal(4, 3, 2) > -0.5
SLOPES, SINKS, TABLE = normal(4), normal(4, seed=1), normal(8, 4)
FACTORS = [1.0, 1.5, 2.0, 3.0]

CASES = {
    "chunk_size": Asked({"chunk_size": 2}, {"chunk_size": 2}),
    "cumulative_query_lengths": Asked(
        {"cumulative_query_lengths": [0, 2, 5], "cumulative_key_lengths": [0, 4, 7]},
        {"cumulative_query_lengths": (0, 2, 5), "cumulative_key_lengths": (0, 4, 7)},
    ),
    "cumulative lengths of arrays": Asked(
        {
            "cumulative_query_lengths": np.array([0, 3, 5], np.int32),
            "cumulative_key_lengths": np.array([0, 3, 7], np.uint8),
        },
        {"cumulative_query_lengths": (0, 3, 5), "cumulative_key_lengths": (0, 3, 7)},
    ),
    "block_map": Asked(
        {"block_map": BLOCKS, "block_size": (2, 4)},
        {"block_map": BLOCKS, "query_block_size": 2, "key_block_size": 4},
    ),
    "block_map of square blocks": Asked(
        {"block_map": [[True, False], [False, True]], "block_size": np.int64(4)},
        {"block_map": np.eye(2, dtype=np.bool_), "query_block_size": 4},
    ),
    "sinks": Asked({"sinks": SINKS}, scoring={"sinks": SINKS}),
    "sinks that Python wrote": Asked({"sinks": [1, 2, 3, 4]}, scoring={"sinks": np.array([1.0, 2.0, 3.0, 4.0])}),
    "alibi": Asked({"alibi": True}, scoring={"alibi": core.Alibi()}),
    "alibi slopes": Asked({"alibi": SLOPES}, scoring={"alibi": core.Alibi(slopes=SLOPES)}),
    "relative_bias": Asked(
        {"relative_bias": {"table": TABLE}}, scoring={"relative_bias": core.RelativeBias(table=TABLE)}
    ),
    "relative_bias both ways": Asked(
        {"relative_bias": {"table": TABLE, "bidirectional": True, "max_distance": 3}},
        scoring={"relative_bias": core.RelativeBias(table=TABLE, bidirectional=True, max_distance=3)},
    ),
    "rotary": Asked({"rotary": {}}, rotary=core.Rotary()),
    "rotary base and size": Asked(
        {"rotary": {"base": 500.0, "rotary_size": 4}}, rotary=core.Rotary(base=500.0, rotary_size=4)
    ),
    "rotary interleaved": Asked(
        {"rotary": {"pairing": "interleaved"}}, rotary=core.Rotary(pairing=core.RotaryPairing.INTERLEAVED)
    ),
    "rotary positions": Asked(
        {"rotary": {"query_positions": [3, 1, 4, 1, 5], "key_positions": np.arange(7, dtype=np.int32)[None] * 2}},
        rotary=core.Rotary(query_positions=np.array([3, 1, 4, 1, 5]), key_positions=np.arange(7)[None] * 2),
    ),
    "rotary linear": Asked(
        {"rotary": {"linear": {"factor": 2.0}}}, rotary=core.Rotary(scaling=core.LinearScaling(factor=2.0))
    ),
    "rotary dynamic_ntk": Asked(
        {"rotary": {"dynamic_ntk": LONG}},
        rotary=core.Rotary(scaling=core.DynamicNtkScaling(factor=2.0, original_length=4)),
    ),
    "rotary sequence_length": Asked(
        {"rotary": {"dynamic_ntk": LONG, "sequence_length": 100}},
        rotary=core.Rotary(scaling=core.DynamicNtkScaling(factor=2.0, original_length=4), sequence_length=100),
    ),
    "rotary yarn": Asked(
        {"rotary": {"yarn": LONG}}, rotary=core.Rotary(scaling=core.YarnScaling(factor=2.0, original_length=4))
    ),
    "rotary yarn in full": Asked(
        {"rotary": {"yarn": {**LONG, "beta_fast": 2, "beta_slow": 0.1, "attention_factor": 1.5, "truncate": False}}},
        rotary=core.Rotary(
            scaling=core.YarnScaling(
                factor=2.0, original_length=4, beta_fast=2.0, beta_slow=0.1, attention_factor=1.5, truncate=False
            )
        ),
    ),
    "rotary longrope": Asked(
        {"rotary": {"longrope": {"short_factors": FACTORS, "long_factors": FACTORS[::-1], **LONG}}},
        rotary=core.Rotary(
            scaling=core.LongRopeScaling(
                short_factors=FACTORS, long_factors=FACTORS[::-1], factor=2.0, original_length=4
            )
        ),
    ),
    "rotary longrope, short, of arrays": Asked(
        {
            "rotary": {
                "longrope": {
                    "short_factors": np.array(FACTORS),
                    "long_factors": np.ones(4),
                    "original_length": 100,
                    "attention_factor": 0.5,
                }
            }
        },
        rotary=core.Rotary(
            scaling=core.LongRopeScaling(
                short_factors=FACTORS, long_factors=[1.0] * 4, original_length=100, attention_factor=0.5
            )
        ),
    ),
    "rotary llama3": Asked(
        {"rotary": {"llama3": {**LONG, "low_frequency_factor": 0.5, "high_frequency_factor": 2.0}}},
        rotary=core.Rotary(
            scaling=core.Llama3Scaling(
                factor=2.0, original_length=4, low_frequency_factor=0.5, high_frequency_factor=2.0
            )
        ),
    ),
}
QUERY, KEY, VALUE = normal(1, 4, 5, 8), normal(1, 2, 7, 8), normal(1, 2, 7, 6)


def answer(asked: Asked) -> core.Answer:
    """The core's answer in this process."""
    return core.attention(
        core.Problem(
            query=QUERY,
            key=KEY,
            value=VALUE,
            visibility=core.Visibility(alignment=TOP_LEFT, **asked.visibility),
            scoring=core.Scoring(**asked.scoring),
            rotary=asked.rotary,
            outputs=frozenset(core.Quantity),
        )
    )


@pytest.mark.parametrize("name", CASES)
def test_numbers_are_those_of_the_core(name: str, client: qkv.Client) -> None:
    """Each option, however Python writes it, is computed as the core computes it in this process."""
    asked = CASES[name]
    outputs = [quantity.value for quantity in core.Quantity]
    options: Any = {**asked.options, "outputs": outputs}
    result = client.attention(QUERY, KEY, VALUE, alignment="top_left", **options)
    expected = answer(asked)
    for quantity, array in result.arrays().items():
        wanted: Array = getattr(expected, quantity)
        assert (array.dtype, array.shape) == (wanted.dtype, wanted.shape), quantity
        assert array.tobytes() == wanted.tobytes(), quantity


@pytest.mark.parametrize("name", CASES)
def test_each_option_makes_a_difference(name: str) -> None:
    """No option of these tests could be lost on its way without another answer."""
    assert not np.array_equal(answer(CASES[name]).output, answer(Asked({})).output)


def test_no_two_questions_have_the_same_answer() -> None:
    """Neither could one of these options be taken for another."""
    answers = [answer(asked).output.tobytes() for asked in CASES.values()]
    assert len(set(answers)) == len(answers)


def test_positions_are_sent_as_integers(client: qkv.Client) -> None:
    """Positions that are floating numbers are refused, also where they are whole."""
    with pytest.raises(qkv.InvalidRequestError) as refused:
        client.attention(QUERY, rotary={"query_positions": [0.0, 1.0, 2.0, 3.0, 4.0]})
    assert [violation.field for violation in refused.value.violations] == ["rotary.query_positions"]
