"""Newest tokens, one of each of many streams or many of one, are answered as the definition does in any company."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qkv_server.core import Alignment, Path, Problem, RelativeBias, Scoring, Visibility, attention, one_after_another
from qkv_server.core.cached import MOST_QUERIES, cached_attention, chunk_attention
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


def expected(query: Array, key: Array, value: Array, window: int | None, softcap: float) -> Array:
    """The reference's answers (N, Hq, Dv) of the queries (N, Hq, D) at the last keys of a stream."""
    problem = Problem(
        query=query.swapaxes(0, 1)[None],
        key=key[None],
        value=value[None],
        visibility=Visibility(
            causal=True, alignment=Alignment.BOTTOM_RIGHT, window_left=None if window is None else window - 1
        ),
        scoring=Scoring(scale=0.4, softcap=softcap),
        path=Path.REFERENCE,
    )
    output: Array = attention(problem).output[0].swapaxes(0, 1)
    return output


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
        one = expected(query[each][None], key, value, window, softcap)[0]
        np.testing.assert_allclose(found[each], one, rtol=1e-5, atol=2e-6)


@settings(max_examples=60, deadline=None)
@given(
    known=st.integers(0, 100),
    count=st.sampled_from([1, 2, 17, MOST_QUERIES, MOST_QUERIES + 1, 2 * MOST_QUERIES + 5]),
    kv_heads=st.integers(1, 3),
    groups=st.integers(1, 3),
    window=st.none() | st.integers(1, 200),
    softcap=st.sampled_from([0.0, 2.0]),
    seed=st.integers(0, 2**32 - 1),
)
def test_every_token_of_a_chunk_is_answered_as_the_definition_does(
    known: int, count: int, kv_heads: int, groups: int, window: int | None, softcap: float, seed: int
) -> None:
    """Each query of a chunk sees its key and those before, or a window of them, and no slot behind the end is read."""
    query, ((key, value),) = streams_of([known + count], kv_heads, groups, seed)
    query = np.random.default_rng(seed).standard_normal((count, *query.shape[1:]), dtype=np.float32)
    found = np.empty((*query.shape[:2], VALUE_SIZE), np.float32)
    chunk_attention(query, key, value, 0.4, found, window=window, softcap=softcap)
    np.testing.assert_allclose(found, expected(query, key, value, window, softcap), rtol=1e-5, atol=5e-6)


def test_a_chunk_is_answered_alike_in_any_order_of_its_tasks() -> None:
    """Tasks that another spread runs in another order change no bit."""
    _, ((key, value),) = streams_of([300], kv_heads=2, groups=2, seed=6)
    query = np.random.default_rng(7).standard_normal((200, 4, HEAD_SIZE), dtype=np.float32)
    found = [np.empty((*query.shape[:2], VALUE_SIZE), np.float32) for _ in range(2)]
    chunk_attention(query, key, value, 0.4, found[0])
    chunk_attention(query, key, value, 0.4, found[1], spread=lambda tasks: one_after_another(tasks[::-1]))
    assert found[0].tobytes() == found[1].tobytes()


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
    before = answers(query, streams, window=5)
    for array in streams[0]:
        array[:, :15] = np.nan
    assert answers(query, streams, window=5).tobytes() == before.tobytes()


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
