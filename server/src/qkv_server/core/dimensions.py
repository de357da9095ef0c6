"""The sizes of a problem, as letters of the formulas."""

from dataclasses import dataclass

from qkv_server.core.precision import DType


@dataclass(frozen=True, kw_only=True, slots=True)
class Dimensions:
    """Sizes and types of a problem that has been checked."""

    rank: int  # of query, key and value: 2, 3 or 4
    batch: int  # B; 1 at rank 2
    heads: int  # Hq
    kv_heads: int  # Hkv
    queries: int  # L
    past: int  # P
    new_keys: int  # S
    extra_keys: int  # learned and zero keys that stand after the given ones
    head_size: int  # D
    value_size: int  # Dv
    out_features: int  # the last axis of a rank 2 or 3 output
    compute: DType  # of matrix products
    softmax: DType  # of exponentials and their sums

    @property
    def keys(self) -> int:
        """T = P + S: the keys that were given, which masks and lengths speak of."""
        return self.past + self.new_keys

    @property
    def all_keys(self) -> int:
        """T and the extra keys: the last axis of scores and weights."""
        return self.keys + self.extra_keys

    @property
    def groups(self) -> int:
        """Hq / Hkv: how many query heads share a key and value head."""
        return self.heads // self.kv_heads
