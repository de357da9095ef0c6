"""Numbers for the operands of a case: drawn from its seed and its name, so that they do not depend on other cases."""

from collections.abc import Callable, Mapping
from typing import Any, cast

import numpy as np

from qkv._calls import Call
from qkv._options import Projections
from qkv.codec import Array
from qkv.vectors.sizes import Sizes

FEATURES = {"query": 6, "key": 7, "value": 9, "output": 5}


class Draw:
    """Draws arrays of a type. `of` are the sizes."""

    def __init__(self, sizes: Sizes, dtype: "np.dtype[Any]", seed: int, name: str) -> None:
        self.of = sizes
        self.dtype = dtype
        self._generator = np.random.default_rng([seed, *name.encode()])

    def array(self, *shape: int) -> Array:
        """Normally distributed numbers."""
        return np.asarray(self._generator.standard_normal(shape).astype(self.dtype))

    def weight(self, *shape: int) -> Array:
        """Weights (out, in) that keep the size of what they are applied to."""
        return np.asarray((self._generator.standard_normal(shape) / np.sqrt(shape[-1])).astype(self.dtype))

    def flags(self, *shape: int) -> Array:
        """Booleans, seven of ten true."""
        return np.asarray(self._generator.random(shape) < 0.7)

    def biases(self, *shape: int) -> Array:
        """Numbers to add to scores, every fifth hides."""
        array = self.array(*shape)
        array[self._generator.random(shape) < 0.2] = -np.inf
        return array

    def permutation(self, size: int) -> Array:
        """The numbers below a size in some order."""
        return np.asarray(self._generator.permutation(size))

    def qkv(
        self,
        *,
        kv_heads: int | None = None,
        queries: int | None = None,
        keys: int | None = None,
        batch: int | None = None,
    ) -> tuple[Array, Array, Array]:
        """Query (B, Hq, L, D), key (B, Hkv, S, D) and value (B, Hkv, S, Dv)."""
        s, kv_heads = self.of, kv_heads or self.of.heads
        batch, queries, keys = batch or s.batch, queries or s.queries, keys or s.keys
        return (
            self.array(batch, s.heads, queries, s.head_size),
            self.array(batch, kv_heads, keys, s.head_size),
            self.array(batch, kv_heads, keys, s.value_size),
        )

    def joined(self, *, kv_heads: int | None = None) -> tuple[Array, Array, Array]:
        """Query (B, L, Hq·D), key (B, S, Hkv·D) and value (B, S, Hkv·Dv)."""
        s, kv_heads = self.of, kv_heads or self.of.heads
        return (
            self.array(s.batch, s.queries, s.heads * s.head_size),
            self.array(s.batch, s.keys, kv_heads * s.head_size),
            self.array(s.batch, s.keys, kv_heads * s.value_size),
        )

    def cache(self, *, kv_heads: int | None = None) -> dict[str, Any]:
        """The options past_key (B, Hkv, P, D) and past_value (B, Hkv, P, Dv)."""
        s, kv_heads = self.of, kv_heads or self.of.heads
        return {
            "past_key": self.array(s.batch, kv_heads, s.past, s.head_size),
            "past_value": self.array(s.batch, kv_heads, s.past, s.value_size),
        }

    def flat(self, *, heads: int = 1, kv_heads: int = 1) -> tuple[Array, Array, Array]:
        """Query (L, Hq·D), key (S, Hkv·D) and value (S, Hkv·Dv)."""
        s = self.of
        return (
            self.array(s.queries, heads * s.head_size),
            self.array(s.keys, kv_heads * s.head_size),
            self.array(s.keys, kv_heads * s.value_size),
        )

    def features(self) -> tuple[Array, Array, Array]:
        """Query, key and value of rank 3 that are still to be projected, each with features of its own."""
        s = self.of
        return (
            self.array(s.batch, s.queries, FEATURES["query"]),
            self.array(s.batch, s.keys, FEATURES["key"]),
            self.array(s.batch, s.keys, FEATURES["value"]),
        )

    def projections(self) -> Projections:
        """The options of every projection of `features`, with biases."""
        s = self.of
        sizes = {
            "query": (s.heads * s.head_size, FEATURES["query"]),
            "key": (s.kv_heads * s.head_size, FEATURES["key"]),
            "value": (s.kv_heads * s.value_size, FEATURES["value"]),
            "output": (FEATURES["output"], s.heads * s.value_size),
        }
        weights = {f"{name}_weight": self.weight(out, into) for name, (out, into) in sizes.items()}
        biases = {f"{name}_bias": self.array(out) for name, (out, _) in sizes.items()}
        return cast("Projections", weights | biases)

    def extras(self) -> Projections:
        """The options extra_key (Hkv·D) and extra_value (1, 1, Hkv·Dv)."""
        s = self.of
        return {
            "extra_key": self.array(s.kv_heads * s.head_size),
            "extra_value": self.array(1, 1, s.kv_heads * s.value_size),
        }

    def hiding_rows(self) -> Array:
        """A mask (B, 1, L, S) in which the second query of each batch row sees nothing."""
        mask = self.flags(self.of.batch, 1, self.of.queries, self.of.keys)
        mask[:, :, 1] = False
        return mask

    def block_map(self) -> dict[str, Any]:
        """The options of a block map that each head has its own of."""
        s, queries, keys = self.of, self.of.near, self.of.near + 1
        return {
            "block_map": self.flags(s.heads, -(-s.queries // queries), -(-s.keys // keys)),
            "block_size": (queries, keys),
        }


Cases = Mapping[str, Callable[[Draw], Call[Any]]]  # by their names, each made of what it draws
