"""Every path of the core answers as the definition does, and to the same bit whatever the company."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qkv_server.core import (
    Alibi,
    Alignment,
    Answer,
    Path,
    Problem,
    Quantity,
    Scoring,
    Visibility,
    attention,
    check,
    solve,
    spread_over,
)
from qkv_server.core.planner import reference_only
from qkv_server.core.problem import Array

from .arrays import FLOAT16, FLOAT32, FLOAT64, DType
from .paths import FAST
from .problems import problems

pytestmark = pytest.mark.usefixtures("small_tiles")

ARRAYS = ("output", *(quantity.value for quantity in Quantity))
TOLERANCES: dict[DType, float] = {FLOAT64: 1e-11, FLOAT32: 2e-5, FLOAT16: 2e-3}


def sized_problems(dtype: DType) -> st.SearchStrategy[Problem]:
    return problems(dtypes=(dtype,)).filter(lambda problem: not reference_only(problem, check(problem)))


def assert_same_bits(actual: Answer, expected: Answer) -> None:
    for name in ARRAYS:
        a, b = getattr(actual, name), getattr(expected, name)
        assert (a is None) == (b is None)
        if a is not None:
            assert a.dtype == b.dtype
            assert a.shape == b.shape
            assert a.tobytes() == b.tobytes(), name


@pytest.mark.parametrize("path", FAST)
@pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_every_path_agrees_with_the_reference(dtype: DType, path: Path, data: st.DataObject) -> None:
    """On random problems with all options, output and every quantity are those of the definition."""
    problem = data.draw(sized_problems(dtype))
    if data.draw(st.booleans()):  # which lets the keys of a row be split
        problem = replace(problem, outputs=frozenset({Quantity.LOG_SUM_EXP}))
    actual, expected = attention(replace(problem, path=path)), attention(replace(problem, path=Path.REFERENCE))
    assert actual.path is path
    for name in ("output", *(quantity.value for quantity in problem.outputs)):
        np.testing.assert_allclose(
            getattr(actual, name).astype(np.float64),
            getattr(expected, name).astype(np.float64),
            rtol=TOLERANCES[dtype],
            atol=TOLERANCES[dtype],
            err_msg=name,
        )


@pytest.mark.parametrize("path", FAST)
@pytest.mark.parametrize("cumulative_key_lengths", [(0, 2, 3, 4), (0, 0, 3, 4), (0, 1, 3, 4)])
def test_segments_have_biases_by_their_own_positions(path: Path, cumulative_key_lengths: tuple[int, ...]) -> None:
    """Biases by distance are right though only the first and the last query stand as in one sequence."""
    problem = Problem(
        query=normal(4, 3, seed=5),
        key=normal(4, 3, seed=6),
        visibility=Visibility(
            alignment=Alignment.TOP_LEFT,
            cumulative_query_lengths=(0, 1, 3, 4),
            cumulative_key_lengths=cumulative_key_lengths,
        ),
        scoring=Scoring(alibi=Alibi()),
    )
    actual, expected = attention(replace(problem, path=path)), attention(replace(problem, path=Path.REFERENCE))
    np.testing.assert_allclose(actual.output, expected.output, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("path", FAST)
@settings(max_examples=40, deadline=None)
@given(problem=sized_problems(FLOAT32), gain=st.sampled_from((1.0, 300.0)))
def test_threads_change_no_bit(path: Path, problem: Problem, gain: float) -> None:
    """One thread or three, the bytes of the answer are the same."""
    problem = replace(problem, path=path, query=problem.query * problem.query.dtype.type(gain))
    with ThreadPoolExecutor(3) as executor:
        spread = solve(problem, check(problem), spread_over(executor, 2), 3)
    assert_same_bits(spread, attention(problem))


def normal(*shape: int, seed: int, gain: float = 1.0) -> Array:
    values: Array = (np.random.default_rng((seed, *shape)).standard_normal(shape) * gain).astype(np.float32)
    return values


@pytest.mark.parametrize("path", [None, *FAST])
@pytest.mark.parametrize("gain", [1.0, 30.0])
@pytest.mark.parametrize("queries", [1, 3, 6])
def test_a_batch_row_is_answered_as_alone(path: Path | None, gain: float, queries: int) -> None:
    """Each row of a batch has the bytes that it has alone, whether it needs a running maximum or not."""
    query, key, value = (
        normal(5, heads, length, 8, seed=1, gain=gain) for heads, length in ((4, queries), (2, 7), (2, 7))
    )
    visibility = Visibility(window_left=4, window_right=1, alignment=None)
    visibility = replace(visibility, mask=np.random.default_rng(2).random((queries, 7)) < 0.7)
    visibility = replace(visibility, window_left=None, window_right=None)
    outputs = frozenset({Quantity.WEIGHTS, Quantity.LOG_SUM_EXP})
    problem = Problem(query=query, key=key, value=value, visibility=visibility, outputs=outputs, path=path)
    together = attention(problem)
    for row in range(5):
        part = slice(row, row + 1)
        alone = attention(replace(problem, query=query[part], key=key[part], value=value[part]))
        for name in ("output", "weights", "log_sum_exp"):
            assert getattr(together, name)[part].tobytes() == getattr(alone, name).tobytes()


@pytest.mark.parametrize("path", [None, *FAST])
@pytest.mark.parametrize("scale", [0.0, 1e-30, 1e-12, 1e30, np.nan])
def test_the_values_of_another_batch_row_change_no_bit(path: Path | None, scale: float) -> None:
    """A row beside one whose values are nothing, tiny, huge or NaN has the bytes that it has alone."""
    query, key, value = (normal(2, 2, 6, 8, seed=7) for _ in range(3))
    value[1, :, 3:] *= np.float32(scale)
    problem = Problem(query=query, key=key, value=value, outputs=frozenset({Quantity.LOG_SUM_EXP}), path=path)
    together = attention(problem)
    alone = attention(replace(problem, query=query[:1], key=key[:1], value=value[:1]))
    for name in ("output", "log_sum_exp"):
        assert getattr(together, name)[:1].tobytes() == getattr(alone, name).tobytes()


@pytest.mark.parametrize("path", FAST)
@pytest.mark.parametrize("scale", [1e-35, 1e35])
def test_values_of_any_size_are_answered_as_by_the_reference(path: Path, scale: float) -> None:
    """Tiny values do not vanish and huge ones do not overflow, though every score is about −40, or 40."""
    key, value = (normal(1, 2, 6, 8, seed=seed) for seed in (8, 9))
    value *= np.float32(scale)
    for towards in (-14, 14):
        problem = Problem(query=np.ones_like(key), key=towards + key, value=value, path=path)
        actual, expected = attention(problem), attention(replace(problem, path=Path.REFERENCE))
        np.testing.assert_allclose(actual.output / scale, expected.output / scale, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("path", [None, *FAST])
@pytest.mark.parametrize("gain", [1.0, 30.0])
@settings(max_examples=30, deadline=None)
@given(queries=st.integers(1, 6), keys=st.integers(1, 9), more=st.integers(1, 9), seed=st.integers(0, 1000))
def test_appended_keys_change_no_row_that_does_not_see_them(
    path: Path | None, gain: float, queries: int, keys: int, more: int, seed: int
) -> None:
    """Keys appended and hidden from a row, though other rows see them and they are huge or NaN, change no bit of it."""
    generator = np.random.default_rng(seed)
    query, key, value = (normal(1, 2, n, 4, seed=seed, gain=gain) for n in (queries, keys, keys))
    mask = generator.random((queries, keys)) < 0.8
    seen = np.zeros((queries, more), bool)
    seen[queries // 2 :] = generator.random((queries - queries // 2, more)) < 0.5
    seen[0] = False
    wild = normal(1, 2, more, 4, seed=seed + 1, gain=1e6)
    wild[generator.random(wild.shape) < 0.2] = np.nan
    before = Problem(query=query, key=key, value=value, visibility=Visibility(mask=mask), path=path)
    after = replace(
        before,
        key=np.concatenate((key, wild), axis=2),
        value=np.concatenate((value, wild), axis=2),
        visibility=Visibility(mask=np.concatenate((mask, seen), axis=1)),
    )
    outputs = frozenset({Quantity.LOG_SUM_EXP})
    first, second = (attention(replace(problem, outputs=outputs)) for problem in (before, after))
    for row in np.flatnonzero(~seen.any(axis=1)):
        assert first.output[:, :, row].tobytes() == second.output[:, :, row].tobytes()
        assert first.log_sum_exp is not None
        assert second.log_sum_exp is not None
        assert first.log_sum_exp[:, :, row].tobytes() == second.log_sum_exp[:, :, row].tobytes()


@pytest.mark.parametrize("path", FAST)
@settings(max_examples=50, deadline=None)
@given(problem=sized_problems(FLOAT64), wild=st.sampled_from((np.nan, np.inf, -np.inf)))
def test_wild_values_reach_who_sees_them_and_nobody_else(path: Path, problem: Problem, wild: float) -> None:
    """NaN and infinities in a key and a value are answered exactly where the definition answers them."""
    if problem.key is None or problem.value is None or 0 in problem.key.shape or 0 in problem.value.shape:
        return
    key, value = problem.key.copy(), problem.value.copy()
    key.flat[0], value.flat[-1] = wild, wild
    problem = replace(problem, key=key, value=value)
    actual, expected = attention(replace(problem, path=path)), attention(replace(problem, path=Path.REFERENCE))
    for name in ("output", "weights", "log_sum_exp"):
        np.testing.assert_allclose(
            getattr(actual, name), getattr(expected, name), rtol=1e-10, atol=1e-10, equal_nan=True, err_msg=name
        )


@pytest.mark.parametrize("path", FAST)
def test_large_logits_need_the_running_maximum_and_have_it(path: Path) -> None:
    """Scores far beyond what an exponential holds are answered as the definition answers them."""
    query, key, value = (normal(1, 2, 9, 8, seed=3, gain=60.0) for _ in range(3))
    problem = Problem(query=query, key=key[:, :, ::-1].copy(), value=value, scoring=Scoring(scale=1.0))
    actual, expected = attention(replace(problem, path=path)), attention(replace(problem, path=Path.REFERENCE))
    assert np.isfinite(actual.output).all()
    np.testing.assert_allclose(actual.output, expected.output, rtol=1e-3, atol=1e-2)
