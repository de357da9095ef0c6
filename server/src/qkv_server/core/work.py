"""What a path of the core computed, in the layout and the types of the arithmetic."""

from dataclasses import dataclass
from typing import NamedTuple

from qkv_server.core.problem import Array, Path


class Work(NamedTuple):
    """The output, and at least the quantities that were asked for."""

    path: Path
    output: Array  # (B, Hq, L, Dv)
    scores: Array | None = None  # (B, Hq, L, T)
    capped_scores: Array | None = None  # (B, Hq, L, T)
    masked_scores: Array | None = None  # (B, Hq, L, T)
    weights: Array | None = None  # (B, Hq, L, T)
    log_sum_exp: Array | None = None  # (B, Hq, L), or (B, Hq, T) when the softmax is over queries

    def of_batch(self, batch: int) -> "Work":
        """The work whose heads are those of several batch rows, apart again."""

        def apart(array: Array | None) -> Array | None:
            return None if array is None else array.reshape(batch, array.shape[1] // batch, *array.shape[2:])

        return Work(
            path=self.path,
            output=self.output.reshape(batch, self.output.shape[1] // batch, *self.output.shape[2:]),
            scores=apart(self.scores),
            capped_scores=apart(self.capped_scores),
            masked_scores=apart(self.masked_scores),
            weights=apart(self.weights),
            log_sum_exp=apart(self.log_sum_exp),
        )


@dataclass(frozen=True, eq=False, kw_only=True, slots=True)
class GradientWork:
    """The gradients of heads, and of what stands beside them."""

    d_query: Array  # (B, Hq, L, D)
    d_key: Array  # (B, Hkv, T, D)
    d_value: Array  # (B, Hkv, T, Dv)
    d_mask: Array | None = None  # shaped as the mask, which is floating
    d_sinks: Array | None = None  # (Hq,)
