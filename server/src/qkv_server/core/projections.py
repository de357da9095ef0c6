"""Linear maps before and after attention, as `torch.nn.Linear`: y = x·Wᵀ + b."""

from qkv_server.core.precision import DType, widened
from qkv_server.core.problem import Array


def project(x: Array, weight: Array | None, bias: Array | None, compute: DType) -> Array:
    """(…, in) → (…, out) in the compute type; a missing weight is the identity, a missing bias is zero."""
    y = widened(x, compute)
    if weight is not None:
        y = y @ widened(weight, compute).T
    return y if bias is None else y + widened(bias, compute)
