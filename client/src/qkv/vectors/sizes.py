"""How large the operands of cases are."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True, slots=True)
class Sizes:
    """The sizes of one suite, with the letters of the contract."""

    batch: int = 2
    heads: int = 4
    kv_heads: int = 2  # where heads are grouped
    queries: int
    keys: int
    past: int
    head_size: int
    value_size: int
    near: int  # keys in a window, a chunk, a block

    @property
    def key_lengths(self) -> list[int]:
        """As many keys as each batch row has that are no padding."""
        return [self.keys - 1 - row for row in range(self.batch)]

    @property
    def query_lengths(self) -> list[int]:
        """As many queries."""
        return [self.queries - row for row in range(self.batch)]

    @property
    def segments(self) -> dict[str, Any]:
        """The options of three segments: a few keys for a few queries, a key for no query, and the rest."""
        cut = self.near
        return {
            "cumulative_query_lengths": [0, cut, cut, self.queries],
            "cumulative_key_lengths": [0, cut + 1, cut + 2, self.keys],
        }

    @property
    def trained(self) -> int:
        """A length that sequences are longer than, for the scalings of rotary embedding."""
        return self.queries - 1


SIZES = {
    "small": Sizes(queries=5, keys=7, past=3, head_size=8, value_size=6, near=2),
    "medium": Sizes(queries=24, keys=40, past=12, head_size=32, value_size=24, near=8),
    "large": Sizes(queries=96, keys=520, past=64, head_size=32, value_size=24, near=32),
}
