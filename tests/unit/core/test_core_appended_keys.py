"""Keys that are appended change no bit of rows that do not see them, at sizes at which a BLAS changes kernels."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from qkv_server.core import (
    Alignment,
    Gradients,
    Path,
    Problem,
    Quantity,
    Visibility,
    attention,
    blocked_gradients,
    differentiate,
)
from qkv_server.core.problem import Array

from .arrays import FLOAT32, FLOAT64, DType
from .paths import FAST

SIZES = [  # queries that see the given keys, of twice as many; keys given; keys appended
    (1, 1, 70),
    (3, 31, 2),
    (5, 40, 300),
    (32, 64, 32),
    (64, 200, 60),
    (40, 250, 350),
    (130, 300, 290),
]
DECODED = [(1, 1023, 2), (1, 1900, 700), (3, 2040, 500), (4, 2500, 2500), (8, 2049, 1)]
PAIRS = (Quantity.WEIGHTS, Quantity.SCORES, Quantity.MASKED_SCORES)
OUTPUTS = frozenset((*PAIRS, Quantity.LOG_SUM_EXP))


def sized(queries: int, keys: int, size: int, dtype: DType, **options: Any) -> Problem:
    """A problem of two query heads over one key and value head."""
    generator = np.random.default_rng((queries, keys, size))
    query = generator.standard_normal((1, 2, queries, size)).astype(dtype)
    key, value = generator.standard_normal((2, 1, 1, keys, size)).astype(dtype)
    return Problem(query=query, key=key, value=value, **options)


def before_and_after(
    queries: int, keys: int, more: int, size: int, dtype: DType, path: Path | None = None
) -> tuple[Problem, Problem]:
    """A problem, and one with keys appended that the second half of the queries sees."""
    mask = np.random.default_rng(keys).random((2 * queries, keys + more)) < 0.8
    mask[:queries, keys:] = False
    after = sized(2 * queries, keys + more, size, dtype, visibility=Visibility(mask=mask), path=path, outputs=OUTPUTS)
    return without(after, keys, Visibility(mask=mask[:, :keys])), after


def without(problem: Problem, keys: int, visibility: Visibility) -> Problem:
    """The problem with so many of its keys."""
    assert problem.key is not None
    assert problem.value is not None
    return replace(problem, key=problem.key[:, :, :keys], value=problem.value[:, :, :keys], visibility=visibility)


def assert_same_rows(before: Problem, after: Problem, rows: slice) -> None:
    """Of these rows every answer has the same bits; scores, which nothing hides, of every row."""
    first, second = attention(before), attention(after)
    assert before.key is not None
    assert first.path is second.path
    assert first.output[:, :, rows].tobytes() == second.output[:, :, rows].tobytes()
    for quantity in before.outputs:
        a, b = getattr(first, quantity.value), getattr(second, quantity.value)
        if quantity in PAIRS:
            b = b[..., : before.key.shape[2]]
        if quantity is not Quantity.SCORES:
            a, b = a[:, :, rows], b[:, :, rows]
        assert a.tobytes() == b.tobytes(), quantity


@pytest.mark.parametrize("dtype", [FLOAT32, FLOAT64], ids=str)
@pytest.mark.parametrize("size", [64, 128])
@pytest.mark.parametrize("path", FAST)
@pytest.mark.parametrize(("queries", "keys", "more"), [*SIZES, *DECODED])
def test_keys_that_other_rows_see_change_no_bit(
    queries: int, keys: int, more: int, path: Path, size: int, dtype: DType
) -> None:
    """By a mask for each row: those that do not see what is appended keep every bit, though others do see it."""
    assert_same_rows(*before_and_after(queries, keys, more, size, dtype, path), slice(queries))


@pytest.mark.parametrize("dtype", [FLOAT32, FLOAT64], ids=str)
@pytest.mark.parametrize("path", [None, *FAST])
@pytest.mark.parametrize("keys", [40, 200, 510, 600, 2100])
@pytest.mark.parametrize("window", [None, 20])
def test_keys_behind_a_causal_row_change_no_bit(keys: int, window: int | None, path: Path | None, dtype: DType) -> None:
    """Each row answers as if the keys ended with the last that it may see, with a window or all before it."""
    past = keys - 32
    visibility = Visibility(causal=True, window_left=window, alignment=Alignment.TOP_LEFT)
    whole = sized(48, keys + 100, 64, dtype)
    assert whole.key is not None
    assert whole.value is not None
    after = replace(
        whole,
        key=whole.key[:, :, past:],
        value=whole.value[:, :, past:],
        past_key=whole.key[:, :, :past],
        past_value=whole.value[:, :, :past],
        visibility=visibility,
        path=path,
    )
    assert_same_rows(without(after, 32, visibility), after, slice(32))


@pytest.mark.parametrize("path", FAST)
@pytest.mark.parametrize(("keys", "more"), [(64, 32), (96, 320), (576, 64)])
def test_keys_that_a_block_map_hides_change_no_bit(keys: int, more: int, path: Path) -> None:
    """Blocks of keys that a row's own block of queries does not attend to are as if they were not there."""
    attends = np.random.default_rng(1).random((2, (keys + more) // 32)) < 0.7
    attends[:, 0], attends[0, keys // 32 :], attends[1, keys // 32 :] = True, False, True

    def mapped(columns: int) -> Visibility:
        return Visibility(block_map=attends[:, :columns], query_block_size=24, key_block_size=32)

    after = sized(48, keys + more, 64, FLOAT32, visibility=mapped((keys + more) // 32), path=path)
    assert_same_rows(without(after, keys, mapped(keys // 32)), after, slice(24))


@pytest.mark.parametrize("path", FAST)
@pytest.mark.parametrize(("keys", "more"), [(40, 30), (200, 60), (500, 90)])
def test_keys_of_another_segment_change_no_bit(keys: int, more: int, path: Path) -> None:
    """A segment answers the same whether the keys of the next one are few or many."""

    def packed(length: int) -> Visibility:
        return Visibility(cumulative_query_lengths=(0, 24, 48), cumulative_key_lengths=(0, keys, length))

    after = sized(48, keys + more, 64, FLOAT32, visibility=packed(keys + more), path=path)
    assert_same_rows(without(after, keys + 1, packed(keys + 1)), after, slice(24))


@pytest.mark.parametrize("kept", [True, False])
@pytest.mark.parametrize("dtype", [FLOAT32, FLOAT64], ids=str)
@pytest.mark.parametrize("path", FAST)
@pytest.mark.parametrize(("queries", "keys", "more"), [*SIZES, (3, 2040, 500)])
def test_gradients_of_what_sees_no_appended_key_keep_every_bit(
    queries: int, keys: int, more: int, path: Path, dtype: DType, kept: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So do the gradients of such queries, and of keys and values, where the answer of other rows does not matter."""
    if not kept:
        monkeypatch.setattr(blocked_gradients, "KEPT_BYTES", 0)
    before, after = before_and_after(queries, keys, more, 64, dtype, path)
    d_output = np.random.default_rng(0).standard_normal(before.query.shape).astype(dtype)
    d_output[:, :, queries:] = 0
    first, second = (differentiate(problem, d_output) for problem in (before, after))
    assert of_keys(first, keys) == of_keys(second, keys)
    assert gradient(first.d_query)[:, :, :queries].tobytes() == gradient(second.d_query)[:, :, :queries].tobytes()


def of_keys(gradients: Gradients, keys: int) -> tuple[bytes, bytes]:
    """The bytes of the gradients of so many keys and values."""
    d_key, d_value = (gradient(each)[:, :, :keys].tobytes() for each in (gradients.d_key, gradients.d_value))
    return d_key, d_value


def gradient(of_operand: Array | None) -> Array:
    """A gradient of an operand that was given."""
    assert of_operand is not None
    return of_operand
