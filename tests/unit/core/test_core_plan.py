"""The path that the core chooses by itself changes no bit of an answer where keys are hidden."""

import numpy as np
import pytest

from qkv_server.core import Path, Problem, Visibility, attention, check
from qkv_server.core.planner import is_tiny
from qkv_server.core.problem import Array


@pytest.mark.parametrize(
    ("queries", "keys", "hidden"),
    [(1, 8192, 9), (7, 500, 100), (255, 512, 40), (257, 512, 1), (300, 500, 100), (513, 512, 5)],
)
def test_hidden_keys_change_neither_the_path_nor_a_bit(queries: int, keys: int, hidden: int) -> None:
    """Padding behind the keys, also where it makes them more than a tile or a split holds, changes nothing."""
    generator = np.random.default_rng(0)
    query = generator.standard_normal((1, 2, queries, 64), dtype=np.float32)
    key, value = generator.standard_normal((2, 1, 2, keys + hidden, 64), dtype=np.float32)
    without = attention(Problem(query=query, key=key[:, :, :keys], value=value[:, :, :keys]))
    padded = attention(Problem(query=query, key=key, value=value, visibility=Visibility(key_lengths=(keys,))))
    assert without.path is padded.path
    assert without.output.tobytes() == padded.output.tobytes()


@pytest.mark.parametrize(("queries", "path"), [(1, Path.DECODE), (64, Path.BATCHED), (512, Path.TILED)])
def test_the_path_follows_the_queries(queries: int, path: Path) -> None:
    """Few, some and many query rows take the decode, the batched and the tiled path."""
    problem = Problem(query=np.ones((1, 2, queries, 8)), key=np.ones((1, 2, 64, 8)))
    assert attention(problem).path is path


def zeros(*shape: int, dtype: str = "float32") -> Array:
    return np.zeros(shape, dtype)


@pytest.mark.parametrize(
    ("query", "key", "tiny"),
    [
        (zeros(1, 8, 128, 64), zeros(1, 8, 128, 64), True),
        (zeros(1, 8, 256, 64), zeros(1, 8, 256, 64), False),
        (zeros(1, 8, 64, 64, dtype="float64"), zeros(1, 8, 64, 64, dtype="float64"), False),
        (zeros(1, 32, 1, 128), zeros(1, 8, 512, 128), True),
        (zeros(1, 32, 1, 128), zeros(1, 8, 4096, 128), False),
    ],
)
def test_what_one_thread_computes_as_fast_as_two_is_tiny(query: Array, key: Array, tiny: bool) -> None:
    """Scores, their type, and the keys that are read for them decide whether a problem is shared by threads."""
    assert is_tiny(check(Problem(query=query, key=key))) is tiny
