"""What a call is predicted to cost follows from what it will do, and not from the clock."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qkv_server.core import (
    Alignment,
    Path,
    Problem,
    Quantity,
    Rates,
    Visibility,
    check,
    planner,
    predict,
    predict_gradients,
    products,
    solve,
)
from qkv_server.core.counts import Counts, counts
from qkv_server.core.rates import HidingRates, PassRates, TypeRates

from .paths import FAST, possible_paths
from .problems import problems

Prediction = Callable[[Problem, Any, int, Rates], float]
PREDICTIONS: tuple[Prediction, ...] = (predict, predict_gradients)


def uniform(kind: type[Any], **given: Any) -> Any:
    """Rates of a kind, a nanosecond for each thing that is not given."""
    return kind(**{field.name: 1e-9 for field in fields(kind)} | given)


PASS = uniform(PassRates, call=1e-4, task=1e-5, tile=1e-5)
TYPE = uniform(TypeRates, forward=PASS, gradients=PASS, reference=PASS, reference_gradients=PASS, flop=1e-11)
RATES: Rates = uniform(Rates, float32=TYPE, float64=TYPE, hiding=uniform(HidingRates, call=1e-5, tile=1e-6))


def sized(
    batch: int = 1, heads: int = 2, queries: int = 600, keys: int = 600, visibility: Visibility | None = None
) -> Problem:
    query, key = (np.zeros((batch, heads, length, 16), np.float32) for length in (queries, keys))
    return Problem(query=query, key=key, visibility=visibility or Visibility())


def counted(problem: Problem) -> Counts:
    dimensions = check(problem)
    plan = planner.plan(problem, dimensions, 1)
    assert plan is not None
    return counts(problem.visibility, dimensions, plan)


@contextmanager
def products_of_scores() -> Iterator[list[int]]:
    """Collects how many pairs each product of queries and keys computes."""
    made: list[int] = []
    original = products.scores

    def scores(*arguments: Any, **options: Any) -> products.Scores:
        result = original(*arguments, **options)
        made.append(result.high.size)
        return result

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(products, "scores", scores)
        yield made


@pytest.mark.usefixtures("small_tiles")
@pytest.mark.parametrize("path", FAST)
@settings(max_examples=150, deadline=None)
@given(problem=problems())
def test_tiles_and_pairs_are_those_of_the_run(path: Path, problem: Problem) -> None:
    """The run makes as many products of as many pairs as were counted; with masks, maps and segments not more."""
    if possible_paths(problem) == (Path.REFERENCE,):
        return
    problem = replace(problem, path=path, outputs=frozenset())
    dimensions = check(problem)
    with products_of_scores() as made:
        solve(problem, dimensions)
    known = counted(problem)
    visibility = problem.visibility
    bounded = visibility.mask is not None or visibility.block_map is not None
    if bounded or len(visibility.cumulative_query_lengths):
        assert sum(made) <= known.pairs
    else:
        assert sum(made) == known.pairs
        if planner.in_one_row(problem, dimensions) is dimensions:
            assert len(made) == known.tiles


@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("queries", [1, 100, 600])
@pytest.mark.parametrize("more", [{"batch": 4}, {"heads": 8}, {"queries": 2000}, {"keys": 2000}])
def test_more_of_anything_costs_more(prediction: Prediction, queries: int, more: dict[str, Any]) -> None:
    """A call with more batch rows, heads, queries or keys is predicted to take longer, on one thread and on two."""
    small, large = sized(queries=queries), sized(**{"queries": queries} | more)
    for threads in (1, 2):
        assert prediction(large, check(large), threads, RATES) > prediction(small, check(small), threads, RATES)


@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize(
    "visibility",
    [
        Visibility(causal=True),
        Visibility(window_left=100, window_right=100),
        Visibility(chunk_size=512),
        Visibility(cumulative_query_lengths=range(0, 4097, 512)),
        Visibility(block_map=np.eye(32, dtype=bool), query_block_size=128),
        Visibility(key_lengths=(1000,)),
    ],
    ids=["causal", "window", "chunks", "segments", "block map", "lengths"],
)
def test_what_is_hidden_costs_less(prediction: Prediction, visibility: Visibility) -> None:
    """Whatever bounds the keys of queries makes a long call cheaper."""
    full, limited = (sized(queries=4096, keys=4096, visibility=each) for each in (Visibility(), visibility))
    assert prediction(limited, check(limited), 1, RATES) < prediction(full, check(full), 1, RATES)


@given(lengths=st.lists(st.integers(1, 5), min_size=1, max_size=6))
@settings(max_examples=50, deadline=None)
def test_segments_cost_the_sum_of_their_own(lengths: list[int]) -> None:
    """Segments of whole blocks and tiles have together the pairs that each has alone."""
    ends = np.cumsum([0, *(512 * length for length in lengths)]).tolist()
    packed = counted(sized(queries=ends[-1], keys=ends[-1], visibility=Visibility(cumulative_query_lengths=ends)))
    alone = [counted(sized(queries=512 * length, keys=512 * length)) for length in lengths]
    assert packed.pairs == sum(each.pairs for each in alone)
    assert packed.hidden_pairs == 0


@pytest.mark.parametrize("queries", [1, 100, 600])
def test_hidden_work_costs_nothing(queries: int) -> None:
    """Of queries that are padding, or that see no key, no tile is counted, nor of keys appended but hidden."""
    for visibility in (Visibility(query_lengths=(0,)), Visibility(key_lengths=(0,))):
        nothing = counted(sized(queries=queries, visibility=visibility))
        assert (nothing.tiles, nothing.pairs, nothing.hiding_tiles) == (0, 0, 0)
    appended = counted(sized(queries=queries, keys=6000, visibility=Visibility(key_lengths=(600,))))
    assert appended.pairs == counted(sized(queries=queries)).pairs


@given(problem=problems(), threads=st.integers(1, 3))
@settings(max_examples=100, deadline=None)
def test_a_prediction_is_a_function_of_shape_and_options(problem: Problem, threads: int) -> None:
    """It is positive, the same each time, and the same for other numbers in the operands, on every path."""
    for path in possible_paths(problem):
        asked = replace(problem, path=path)
        other = replace(asked, query=np.full_like(asked.query, np.nan))
        for prediction in PREDICTIONS:
            seconds = prediction(asked, check(asked), threads, RATES)
            assert seconds > 0
            assert seconds == prediction(other, check(other), threads, RATES)


@pytest.mark.parametrize("asked", [Quantity.WEIGHTS, Quantity.SCORES, Quantity.MASKED_SCORES])
def test_quantities_of_pairs_cost_more(asked: Quantity) -> None:
    """What has a number for each pair is priced."""
    plain = sized()
    with_quantity = replace(plain, outputs=frozenset({asked}))
    assert predict(with_quantity, check(with_quantity), 1, RATES) > predict(plain, check(plain), 1, RATES)


def test_the_path_is_the_one_that_is_taken() -> None:
    """Hidden keys are priced by the reference, which computes them, and by no other path."""
    visibility = Visibility(causal=True, alignment=Alignment.TOP_LEFT)
    pairs: dict[Path, float] = {}
    for path in Path:
        limited, full = (replace(sized(visibility=each), path=path) for each in (visibility, Visibility()))
        pairs[path] = predict(full, check(full), 1, RATES) - predict(limited, check(limited), 1, RATES)
    assert pairs[Path.REFERENCE] == 0
    assert pairs[Path.TILED] > 0


def test_rates_are_measured() -> None:
    """The rates of this machine are finite, and those of products and of the reference's calls positive."""
    rates = Rates.measure()
    for of_type in (rates.float32, rates.float64):
        assert of_type.flop > 0
        assert of_type.reference.call > 0
        for of_pass in (of_type.forward, of_type.gradients, of_type.reference, of_type.reference_gradients):
            assert all(0 <= getattr(of_pass, field.name) < np.inf for field in fields(of_pass))
    assert rates.float64.cut > rates.float32.cut == 0
