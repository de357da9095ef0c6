"""Logits are the products of states and rows of tokens, however they are laid out."""

import numpy as np
import pytest

from qkv_server.transformers.layers.halves import Halves
from qkv_server.transformers.layers.linear import SMALL_PRODUCT
from qkv_server.transformers.layers.output_layer import BLOCK, output_layer

FEATURES = 256
ONE_PASS = SMALL_PRODUCT // (FEATURES * BLOCK)  # rows


@pytest.mark.parametrize("rows", [1, ONE_PASS, ONE_PASS + 1, 3 * ONE_PASS])
@pytest.mark.parametrize("vocabulary", [1, BLOCK, 5 * BLOCK + 7])
@pytest.mark.parametrize("halves", [None, Halves()], ids=["whole", "halves"])
def test_logits_are_products_and_bias(rows: int, vocabulary: int, halves: Halves | None) -> None:
    """In one pass or several, in blocks that are full or not, logits are float64's, rounded; tokens may have −inf."""
    random = np.random.default_rng(rows + vocabulary)
    x = random.standard_normal((rows, FEATURES), dtype=np.float32)
    table = random.standard_normal((vocabulary, FEATURES), dtype=np.float32)
    bias = random.standard_normal(vocabulary, dtype=np.float32)
    bias[-1] = -np.inf
    exact = x.astype(np.float64) @ table.T.astype(np.float64)
    np.testing.assert_allclose(output_layer(table, bias, halves)(x), exact + bias, rtol=0, atol=1e-4)
    np.testing.assert_allclose(output_layer(table, None, halves)(x), exact, rtol=0, atol=1e-4)


def test_rows_are_those_of_the_table() -> None:
    """Tokens of any block, the last and half full one too, have the rows that the layer was made of."""
    table = np.random.default_rng(0).standard_normal((2 * BLOCK + 7, FEATURES), dtype=np.float32)
    ids = np.array([0, BLOCK - 1, BLOCK, 2 * BLOCK + 6, 0])
    np.testing.assert_array_equal(output_layer(table).rows(ids), table[ids])
