"""Whatever the core is asked, it answers or names what is wrong: never another error, never a warning."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qkv_server.core import (
    Alibi,
    Alignment,
    AxisOrder,
    DynamicNtkScaling,
    EmptyRow,
    InvalidProblemError,
    LinearScaling,
    Llama3Scaling,
    LogBase,
    LongRopeScaling,
    MaskPolarity,
    MultiHead,
    Path,
    Problem,
    Quantity,
    RelativeBias,
    Rotary,
    RotaryPairing,
    Scoring,
    SoftmaxAxis,
    Visibility,
    YarnScaling,
    answer_bytes,
    attention,
    check,
    check_options,
    solve,
    working_bytes,
)
from qkv_server.core.problem import Array

from .arrays import DTYPES, DType
from .problems import problems

ANY_DTYPE: tuple[DType, ...] = (*DTYPES, *map(np.dtype, ("bool", "int64", "uint8", "complex64", ">f4", "U1", "O")))
NUMBERS = (0.0, -0.0, 1.0, -2.5, 1e-45, 3e38, -1e300, np.nan, np.inf, -np.inf)
INTEGERS = st.integers(-2, 6) | st.sampled_from((2**31, 2**63, -(2**63)))
FLOATS = st.floats() | st.sampled_from(NUMBERS)


@st.composite
def arrays(draw: st.DrawFn, dtypes: Sequence[DType] = ANY_DTYPE) -> Array:
    """An array of any rank up to 5, with numbers of every kind."""
    shape = draw(st.lists(st.integers(0, 4), max_size=5))
    numbers = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    values = numbers.choice(NUMBERS, shape) if draw(st.booleans()) else numbers.standard_normal(shape)
    with np.errstate(all="ignore"):
        return np.asarray(values).astype(draw(st.sampled_from(dtypes)))


MAYBE_ARRAY = st.none() | arrays()
LENGTHS = st.lists(INTEGERS, max_size=3).map(tuple)
FACTORS = st.lists(FLOATS, max_size=3).map(tuple)
SCALINGS: dict[type, dict[str, st.SearchStrategy[Any]]] = {
    LinearScaling: {"factor": FLOATS},
    DynamicNtkScaling: {"factor": FLOATS, "original_length": INTEGERS},
    YarnScaling: {
        "factor": FLOATS,
        "original_length": INTEGERS,
        "beta_fast": FLOATS,
        "beta_slow": FLOATS,
        "attention_factor": st.none() | FLOATS,
        "truncate": st.none() | st.booleans(),
    },
    LongRopeScaling: {
        "short_factors": FACTORS,
        "long_factors": FACTORS,
        "original_length": INTEGERS,
        "factor": FLOATS,
        "attention_factor": st.none() | FLOATS,
    },
    Llama3Scaling: {
        "factor": FLOATS,
        "low_frequency_factor": FLOATS,
        "high_frequency_factor": FLOATS,
        "original_length": INTEGERS,
    },
}
OPTIONS: dict[type, dict[str, st.SearchStrategy[Any]]] = {
    Problem: dict.fromkeys(("key", "value", "past_key", "past_value"), MAYBE_ARRAY)
    | {
        "query": arrays(),
        "outputs": st.frozensets(st.sampled_from(Quantity)),
        "path": st.none() | st.sampled_from(Path),
    },
    MultiHead: {
        f"{operand}_{kind}": MAYBE_ARRAY
        for operand in ("query", "key", "value", "output")
        for kind in ("weight", "bias")
    }
    | {
        "heads": INTEGERS,
        "kv_heads": INTEGERS,
        "axis_order": st.sampled_from(AxisOrder),
        "extra_key": MAYBE_ARRAY,
        "extra_value": MAYBE_ARRAY,
        "add_zero_attention": st.booleans(),
    },
    Visibility: {
        "mask": MAYBE_ARRAY,
        "mask_polarity": st.sampled_from(MaskPolarity),
        "causal": st.booleans(),
        "alignment": st.none() | st.sampled_from(Alignment),
        "window_left": st.none() | INTEGERS,
        "window_right": st.none() | INTEGERS,
        "key_lengths": LENGTHS,
        "query_lengths": LENGTHS,
        "empty_row": st.sampled_from(EmptyRow),
        "chunk_size": INTEGERS,
        "cumulative_query_lengths": LENGTHS,
        "cumulative_key_lengths": LENGTHS,
        "block_map": MAYBE_ARRAY,
        "query_block_size": INTEGERS,
        "key_block_size": INTEGERS,
    },
    Scoring: {
        "scale": st.none() | FLOATS,
        "softcap": FLOATS,
        "softmax_axis": st.sampled_from(SoftmaxAxis),
        "log_base": st.sampled_from(LogBase),
        "softmax_precision": st.none() | st.sampled_from(ANY_DTYPE),
        "sinks": MAYBE_ARRAY,
    },
    Alibi: {"slopes": MAYBE_ARRAY},
    RelativeBias: {"table": arrays(), "bidirectional": st.booleans(), "max_distance": INTEGERS},
    Rotary: {
        "base": FLOATS,
        "rotary_size": INTEGERS,
        "pairing": st.sampled_from(RotaryPairing),
        "query_positions": MAYBE_ARRAY,
        "key_positions": MAYBE_ARRAY,
        "sequence_length": INTEGERS,
    },
    **SCALINGS,
}
PARTS: dict[str, tuple[type, ...]] = {  # what may be left out, and is fuzzed by its own fields
    "scoring.alibi": (Alibi,),
    "scoring.relative_bias": (RelativeBias,),
    "rotary": (Rotary,),
    "rotary.scaling": tuple(SCALINGS),
}


def some_of(draw: st.DrawFn, owner: type, most: int) -> dict[str, Any]:
    """Any values for a few fields."""
    names = draw(st.lists(st.sampled_from(sorted(OPTIONS[owner])), max_size=most, unique=True))
    return {name: draw(OPTIONS[owner][name]) for name in names}


def maybe_part(draw: st.DrawFn, path: str, **nested: Any) -> Any:
    """A part with any values for all its fields but the nested ones, or none."""
    owner = draw(st.sampled_from((None, *PARTS[path])))
    if owner is None:
        return None
    return owner(**{name: draw(strategy) for name, strategy in OPTIONS[owner].items()}, **nested)


def spoiled_part(draw: st.DrawFn, part: Any) -> Any:
    """The part, if there is one, in which a field was replaced by anything."""
    return None if part is None else replace(part, **some_of(draw, type(part), 1))


@st.composite
def spoiled(draw: st.DrawFn, valid: st.SearchStrategy[Problem]) -> Problem:
    """A valid problem in which a few fields were replaced by anything."""
    problem = draw(valid)
    scoring = replace(
        problem.scoring,
        alibi=spoiled_part(draw, problem.scoring.alibi),
        relative_bias=spoiled_part(draw, problem.scoring.relative_bias),
        **some_of(draw, Scoring, 1),
    )
    rotary: Rotary | None = spoiled_part(draw, problem.rotary)
    if rotary is not None:
        rotary = replace(rotary, scaling=spoiled_part(draw, rotary.scaling))
    return replace(
        problem,
        multi_head=replace(problem.multi_head, **some_of(draw, MultiHead, 2)),
        visibility=replace(problem.visibility, **some_of(draw, Visibility, 2)),
        scoring=scoring,
        rotary=rotary,
        **some_of(draw, Problem, 1),
    )


@st.composite
def anything(draw: st.DrawFn) -> Problem:
    """A problem whose every field may be anything."""
    return Problem(
        **{"query": draw(arrays())} | some_of(draw, Problem, 4),
        multi_head=MultiHead(**some_of(draw, MultiHead, 4)),
        visibility=Visibility(**some_of(draw, Visibility, 4)),
        scoring=Scoring(
            **some_of(draw, Scoring, 2),
            alibi=maybe_part(draw, "scoring.alibi"),
            relative_bias=maybe_part(draw, "scoring.relative_bias"),
        ),
        rotary=maybe_part(draw, "rotary", scaling=maybe_part(draw, "rotary.scaling")),
    )


def assert_answered_or_refused(problem: Problem) -> None:
    try:
        dimensions = check(problem)
    except InvalidProblemError as refusal:
        named = [violation.field for violation in refusal.violations]
        assert named
        assert len(named) == len(set(named))
        assert set(named) <= PATHS
        return
    answer = solve(problem, dimensions)
    assert answer.output.dtype == problem.query.dtype
    assert working_bytes(problem, dimensions) >= answer_bytes(problem, dimensions) >= answer.output.nbytes


PREFIXES: dict[type, str] = {
    Problem: "",
    MultiHead: "multi_head.",
    Visibility: "visibility.",
    Scoring: "scoring.",
    Alibi: "scoring.alibi.",
    RelativeBias: "scoring.relative_bias.",
    Rotary: "rotary.",
    LinearScaling: "rotary.linear.",
    DynamicNtkScaling: "rotary.dynamic_ntk.",
    YarnScaling: "rotary.yarn.",
    LongRopeScaling: "rotary.longrope.",
    Llama3Scaling: "rotary.llama3.",
}
PATHS = {PREFIXES[owner] + name for owner, strategies in OPTIONS.items() for name in strategies}


def test_every_field_is_fuzzed() -> None:
    """A field that is added to the problem must be added here."""
    parts = {"multi_head", "visibility", "scoring", *(path.rpartition(".")[2] for path in PARTS)}
    for owner, strategies in OPTIONS.items():
        assert {field.name for field in fields(owner)} - parts == set(strategies)


@settings(max_examples=200, deadline=None)
@given(problem=anything())
def test_anything_is_answered_or_refused(problem: Problem) -> None:
    """Random fields of every type, shape and value raise InvalidProblemError, naming fields, or nothing."""
    assert_answered_or_refused(problem)


@settings(max_examples=250, deadline=None)
@given(problem=spoiled(problems(dtypes=DTYPES)))
def test_a_spoiled_problem_is_answered_or_refused(problem: Problem) -> None:
    """A valid problem in which a few fields are replaced by anything raises InvalidProblemError or is answered."""
    assert_answered_or_refused(problem)


@settings(max_examples=50, deadline=None)
@given(problem=spoiled(problems(dtypes=DTYPES)))
def test_a_question_is_never_changed(problem: Problem) -> None:
    """Neither checking nor answering writes into the arrays that were sent."""
    sent = list(arrays_in(problem))
    before = [array.tobytes() for array in sent]
    with contextlib.suppress(InvalidProblemError):
        attention(problem)
    assert [array.tobytes() for array in sent] == before


@settings(max_examples=80, deadline=None)
@given(problem=spoiled(problems(dtypes=DTYPES)))
def test_options_alone_are_refused_as_with_their_arrays(problem: Problem) -> None:
    """What is wrong whatever the shapes are is also wrong of the whole problem: no right problem is refused early."""
    assert fields_refused(check_options, problem) <= fields_refused(check, problem)


@pytest.mark.parametrize(
    ("problem", "field"),
    [
        (Problem(query=np.ones((2, 1)), scoring=Scoring(scale=np.nan)), "scoring.scale"),
        (Problem(query=np.ones((2, 1)), scoring=Scoring(softcap=-1)), "scoring.softcap"),
        (Problem(query=np.ones((2, 1)), visibility=Visibility(window_left=-1)), "visibility.window_left"),
        (Problem(query=np.ones((2, 1), np.int64)), "query"),
    ],
)
def test_wrong_options_are_found_without_the_shapes(problem: Problem, field: str) -> None:
    """Options are refused before the arrays are measured."""
    assert fields_refused(check_options, problem) == {field}


def fields_refused(checking: Callable[[Problem], object], problem: Problem) -> set[str]:
    try:
        checking(problem)
    except InvalidProblemError as refusal:
        return {violation.field for violation in refusal.violations}
    return set()


def arrays_in(thing: object) -> Iterator[Array]:
    """Every array of a problem, however deep."""
    if isinstance(thing, np.ndarray):
        yield thing
    elif is_dataclass(thing):
        for field in fields(thing):
            yield from arrays_in(getattr(thing, field.name))
