"""What a path of the core computed, in the layout and the types of the arithmetic."""

from dataclasses import dataclass

from qkv_server.core.problem import Array


@dataclass(frozen=True, eq=False, kw_only=True, slots=True)
class Work:
    """The output, and at least the quantities that were asked for."""

    output: Array  # (B, Hq, L, Dv)
    scores: Array | None = None  # (B, Hq, L, T)
    capped_scores: Array | None = None  # (B, Hq, L, T)
    masked_scores: Array | None = None  # (B, Hq, L, T)
    weights: Array | None = None  # (B, Hq, L, T)
    log_sum_exp: Array | None = None  # (B, Hq, L), or (B, Hq, T) when the softmax is over queries


@dataclass(frozen=True, eq=False, kw_only=True, slots=True)
class GradientWork:
    """The gradients of heads, and of what stands beside them."""

    d_query: Array  # (B, Hq, L, D)
    d_key: Array  # (B, Hkv, T, D)
    d_value: Array  # (B, Hkv, T, Dv)
    d_mask: Array | None = None  # shaped as the mask, which is floating
    d_sinks: Array | None = None  # (Hq,)
