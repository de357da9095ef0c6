"""Normalization in float32, against its definition in float64."""

import numpy as np
import pytest

from qkv_server.transformers.layers.normalization import Array, layer_norm, rms_norm

SIZES = (1, 2, 33, 384, 1000)


def rows(size: int, count: int = 50) -> Array:
    """Rows of very different lengths and means."""
    random = np.random.default_rng(size)
    scale = np.geomspace(1e-3, 1e3, count)[:, None]
    x: Array = (random.normal(size=(count, size)) * scale + random.normal(size=(count, 1)) * scale).astype(np.float32)
    return x


def parameters(size: int) -> tuple[Array, Array]:
    weight, bias = np.random.default_rng(size + 1).normal(size=(2, size)).astype(np.float32)
    return weight, bias


@pytest.mark.parametrize("size", SIZES)
def test_layer_norm_is_its_definition(size: int) -> None:
    """Rows have mean 0 and variance 1 before the weight and the bias."""
    x, (weight, bias) = rows(size), parameters(size)
    wide = x.astype(np.float64)
    expected = (wide - wide.mean(-1, keepdims=True)) / np.sqrt(wide.var(-1, keepdims=True) + 1e-5) * weight + bias
    np.testing.assert_allclose(layer_norm(x, weight, bias, 1e-5), expected, rtol=0, atol=2e-5)


@pytest.mark.parametrize("size", SIZES)
def test_rms_norm_is_its_definition(size: int) -> None:
    """Rows have a mean square of 1 before the weight."""
    x, (weight, _) = rows(size), parameters(size)
    wide = x.astype(np.float64)
    expected = wide / np.sqrt((wide**2).mean(-1, keepdims=True) + 1e-6) * weight
    np.testing.assert_allclose(rms_norm(x, weight, 1e-6), expected, rtol=2e-6, atol=1e-6)


@pytest.mark.parametrize("size", SIZES)
def test_rows_do_not_see_each_other(size: int) -> None:
    """A row is normalized to the same bits alone, among others, and in place."""
    x, (weight, bias) = rows(size), parameters(size)
    for together, alone, in_place in (
        (
            layer_norm(x, weight, bias, 1e-12),
            [layer_norm(row[None], weight, bias, 1e-12)[0] for row in x],
            layer_norm(y := x.copy(), weight, bias, 1e-12, out=y),
        ),
        (
            rms_norm(x, weight, 1e-6),
            [rms_norm(row[None], weight, 1e-6)[0] for row in x],
            rms_norm(z := x.copy(), weight, 1e-6, out=z),
        ),
    ):
        assert (together == alone).all()
        assert (together == in_place).all()
