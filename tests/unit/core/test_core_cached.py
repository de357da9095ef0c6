"""One query of each of many streams is answered as the definition does, whatever the company."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qkv_server.core import Alignment, Path, Problem, RelativeBias, Scoring, Visibility, attention
from qkv_server.core.cached import cached_attention
from qkv_server.core.problem import Array
from qkv_server.core.relative_bias import bias_of_newest

HEAD_SIZE, VALUE_SIZE = 8, 6


def streams_of(lengths: list[int], kv_heads: int, groups: int, seed: int) -> tuple[Array, list[tuple[Array, Array]]]:
    """Queries (n, Hq, D), and keys and values of each stream, in front of slots that hold NaN."""
    random = np.random.default_rng(seed)
    streams = []
    for length in lengths:
        key, value = (np.full((kv_heads, length + 3, size), np.nan, np.float32) for size in (HEAD_SIZE, VALUE_SIZE))
        for array in (key, value):
            array[:, :length] = 3 * random.standard_normal((kv_heads, length, array.shape[2]))
        streams.append((key[:, :length], value[:, :length]))
    query = random.standard_normal((len(lengths), kv_heads * groups, HEAD_SIZE), dtype=np.float32)
    return query, streams


def answers(query: Array, streams: list[tuple[Array, Array]], window: int | None = None, softcap: float = 0.0) -> Array:
    out = np.empty((*query.shape[:2], VALUE_SIZE), np.float32)
    cached_attention(query, streams, 0.4, out, window=window, softcap=softcap)
    return out


@settings(max_examples=60, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 40), min_size=1, max_size=5),
    kv_heads=st.integers(1, 3),
    groups=st.integers(1, 3),
    window=st.none() | st.integers(1, 50),
    softcap=st.sampled_from([0.0, 2.0]),
    seed=st.integers(0, 2**32 - 1),
)
def test_every_stream_is_answered_as_the_definition_does(
    lengths: list[int], kv_heads: int, groups: int, window: int | None, softcap: float, seed: int
) -> None:
    """Each answer is the reference's for a query at the last key, and no slot behind the end is read."""
    query, streams = streams_of(lengths, kv_heads, groups, seed)
    found = answers(query, streams, window, softcap)
    for each, (key, value) in enumerate(streams):
        expected = attention(
            Problem(
                query=query[each][None, :, None],
                key=key[None],
                value=value[None],
                visibility=Visibility(
                    causal=True,
                    alignment=Alignment.BOTTOM_RIGHT,
                    window_left=None if window is None else window - 1,
                ),
                scoring=Scoring(scale=0.4, softcap=softcap),
                path=Path.REFERENCE,
            )
        ).output[0, :, 0]
        np.testing.assert_allclose(found[each], expected, rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize("bidirectional", [False, True])
def test_distances_have_their_biases(bidirectional: bool) -> None:
    """With T5's relative bias every stream is answered as the definition does, whatever the others' lengths."""
    query, streams = streams_of([3, 1, 40], kv_heads=2, groups=3, seed=4)
    table = np.random.default_rng(5).standard_normal((8, 6), dtype=np.float32)
    bias = RelativeBias(table=table, bidirectional=bidirectional, max_distance=20)
    found = np.empty((*query.shape[:2], VALUE_SIZE), np.float32)
    cached_attention(query, streams, 0.4, found, bias=bias_of_newest(bias, 50))
    for each, (key, value) in enumerate(streams):
        problem = Problem(
            query=query[each][None, :, None],
            key=key[None],
            value=value[None],
            visibility=Visibility(causal=True, alignment=Alignment.BOTTOM_RIGHT),
            scoring=Scoring(scale=0.4, relative_bias=bias),
            path=Path.REFERENCE,
        )
        np.testing.assert_allclose(found[each], attention(problem).output[0, :, 0], rtol=1e-5, atol=2e-6)


def test_keys_before_the_window_are_not_read() -> None:
    """NaN in keys and values that the window leaves out changes nothing."""
    query, streams = streams_of([20], kv_heads=2, groups=2, seed=1)
    expected = answers(query, streams, window=5)
    for array in streams[0]:
        array[:, :15] = np.nan
    assert answers(query, streams, window=5).tobytes() == expected.tobytes()


@pytest.mark.parametrize("softcap", [0.0, 2.0])
def test_an_answer_does_not_depend_on_the_other_streams(softcap: float) -> None:
    """A stream alone and among others has the same answer, to the last bit."""
    query, streams = streams_of([7, 300, 1, 64], kv_heads=3, groups=3, seed=2)
    together = answers(query, streams, softcap=softcap)
    for each in range(len(streams)):
        alone = answers(query[each : each + 1], streams[each : each + 1], softcap=softcap)
        assert together[each].tobytes() == alone[0].tobytes()


def test_large_scores_do_not_overflow() -> None:
    """Scores of thousands, whose exponentials no float32 holds, still weigh the largest with 1."""
    query = np.full((1, 1, HEAD_SIZE), 100, np.float32)
    key = np.stack([np.full(HEAD_SIZE, size, np.float32) for size in (1, 100, 2)])[None]
    value = np.arange(3 * VALUE_SIZE, dtype=np.float32).reshape(1, 3, VALUE_SIZE)
    np.testing.assert_array_equal(answers(query, [(key, value)])[0, 0], value[0, 1])
