"""A linear layer answers x·Wᵀ + b in every layout."""

import numpy as np
import pytest

from qkv_server.transformers.layers.halves import Halves
from qkv_server.transformers.layers.linear import SHARED_BYTES_ONE_ROW, Arena, Linear, fused

RANDOM = np.random.default_rng(0)
WIDTH = 64
HEIGHT = SHARED_BYTES_ONE_ROW // (4 * WIDTH) + 33  # large enough to be computed in halves, and no multiple of a kernel


@pytest.mark.parametrize("rows", [1, 2, 7, 64])
@pytest.mark.parametrize("halves", [None, Halves()], ids=["whole", "halves"])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("into", [False, True])
def test_products_are_right_in_every_layout(rows: int, halves: Halves | None, order: str, into: bool) -> None:
    """Whole or in halves, into an array or not, from either order of the weight, products are float64's, rounded."""
    x = RANDOM.standard_normal((rows, WIDTH), dtype=np.float32)
    weight = RANDOM.standard_normal((HEIGHT, WIDTH), dtype=np.float32)
    bias = RANDOM.standard_normal(HEIGHT, dtype=np.float32)
    layer = Linear(np.asarray(weight, order="C" if order == "C" else "F"), bias, halves)
    expected = x.astype(np.float64) @ weight.T.astype(np.float64)
    if into:
        out = np.empty((rows, HEIGHT), np.float32)
        assert layer.product(x, out) is out
        np.testing.assert_allclose(out, expected, rtol=0, atol=1e-4)
    else:
        np.testing.assert_allclose(layer(x), expected + bias, rtol=0, atol=1e-4)


@pytest.mark.parametrize("rows", [1, 5])
def test_who_computes_a_half_changes_no_bit(rows: int) -> None:
    """A product has the same bits with a second thread and while that is busy elsewhere."""
    x = RANDOM.standard_normal((rows, WIDTH), dtype=np.float32)
    halves = Halves()
    layer = Linear(RANDOM.standard_normal((HEIGHT, WIDTH), dtype=np.float32), halves=halves)
    alone: list[bytes] = []
    halves.run(lambda: alone.append(layer(x).tobytes()), lambda: None)
    assert alone == [layer(x).tobytes()]


def test_fused_layers_answer_one_after_another() -> None:
    """Fused layers answer what each does, with zeros where one has no bias."""
    x = RANDOM.standard_normal((3, 4), dtype=np.float32)
    weights = [RANDOM.standard_normal((size, 4), dtype=np.float32) for size in (2, 5)]
    bias = RANDOM.standard_normal(2, dtype=np.float32)
    for input_major in (False, True):
        layer = fused(weights, [bias, None], input_major=input_major)
        expected = np.concatenate([x @ weights[0].T + bias, x @ weights[1].T], axis=1)
        np.testing.assert_allclose(layer(x), expected, atol=1e-5)
        assert layer.features_first is not input_major


def test_an_arena_holds_copies_one_behind_another() -> None:
    """What is put into an arena is copied, whole, and not overwritten by what comes later."""
    first, second, bias = np.ones((2, 3), np.float32), np.full((1, 3), 2, np.float32), np.arange(4, dtype=np.float32)
    arena = Arena(13)
    stacked, vector = arena.stacked(first, second), arena.stacked(bias)
    first[:] = 7
    np.testing.assert_array_equal(stacked, [[1, 1, 1], [1, 1, 1], [2, 2, 2]])
    np.testing.assert_array_equal(vector, [0, 1, 2, 3])
