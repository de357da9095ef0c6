"""The feed-forward block is two products around an activation, however its work is divided."""

import numpy as np
import numpy.typing as npt
import pytest

from qkv_server.transformers.layers.activations import ACTIVATIONS
from qkv_server.transformers.layers.feed_forward import FeedForward
from qkv_server.transformers.layers.halves import Halves
from qkv_server.transformers.layers.linear import SHARED_BYTES_ONE_ROW, Linear

WIDTH = 64
INNER = SHARED_BYTES_ONE_ROW // (2 * 4 * WIDTH) + 17  # features of a block that two threads share for one row


def block(*, gated: bool, biased: bool, order: str, halves: Halves | None) -> FeedForward:
    """A random block."""
    random = np.random.default_rng(0)

    def linear(rows: int, columns: int) -> Linear:
        weight = random.standard_normal((rows, columns), dtype=np.float32) / np.float32(columns**0.5)
        bias = random.standard_normal(rows, dtype=np.float32) if biased else None
        return Linear(np.asarray(weight, order="C" if order == "C" else "F"), bias, halves)

    return FeedForward(linear((1 + gated) * INNER, WIDTH), linear(WIDTH, INNER), ACTIVATIONS["silu"], gated)


def definition(layer: FeedForward, x: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """The block in float64, by its formula."""

    def linear(of: Linear, states: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return states @ of.weight.T.astype(np.float64) + (0 if of.bias is None else of.bias)

    inner = linear(layer.inner, x.astype(np.float64))
    gate = inner[:, :INNER]
    activated = gate / (1 + np.exp(-gate))
    return linear(layer.outer, activated * inner[:, INNER:] if layer.gated else activated)


@pytest.mark.parametrize("rows", [1, 2, 9])
@pytest.mark.parametrize("halves", [None, Halves()], ids=["whole", "halves"])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("gated", [False, True], ids=["plain", "gated"])
@pytest.mark.parametrize("biased", [False, True], ids=["plain", "biased"])
def test_a_block_follows_its_formula(rows: int, halves: Halves | None, order: str, gated: bool, biased: bool) -> None:
    """For one row or many, whole or in halves, in either order of the weights, a block answers its formula."""
    layer = block(gated=gated, biased=biased, order=order, halves=halves)
    x = np.random.default_rng(1).standard_normal((rows, WIDTH), dtype=np.float32)
    np.testing.assert_allclose(layer(x), definition(layer, x), rtol=0, atol=1e-5)


def test_who_computes_a_half_changes_no_bit() -> None:
    """A block has the same bits for one row with a second thread and while that is busy elsewhere."""
    halves = Halves()
    layer = block(gated=True, biased=True, order="C", halves=halves)
    x = np.random.default_rng(1).standard_normal((1, WIDTH), dtype=np.float32)
    alone: list[bytes] = []
    halves.run(lambda: alone.append(layer(x).tobytes()), lambda: None)
    assert alone == [layer(x).tobytes()]
