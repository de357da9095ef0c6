"""Layers with the parameters that the files of a model have for them."""

from collections.abc import Sequence

from qkv_server.transformers.files import Weights
from qkv_server.transformers.layers.linear import Linear, fused
from qkv_server.transformers.layers.normalization import Norm, NormKind


def linear(
    weights: Weights, names: Sequence[str], in_size: int, out_size: int, *, biased: bool, many_rows: bool
) -> Linear:
    """The layers of these names as one, their answers side by side: each (out_size, in_size), all with a bias or none.

    It is laid out for `many_rows`, as those of an encoder, or for the few of a decoder's step. Raises ModelFileError.
    """
    matrices = [weights.take(f"{name}.weight", (out_size, in_size)) for name in names]
    biases = [weights.take(f"{name}.bias", (out_size,)) if biased else None for name in names]
    return fused(matrices, biases, input_major=many_rows)


def layer_norm(weights: Weights, name: str, size: int, epsilon: float) -> Norm:
    """LayerNorm over `size` features. Raises ModelFileError."""
    weight, bias = (weights.take(f"{name}.{part}", (size,)) for part in ("weight", "bias"))
    return Norm(NormKind.LAYER, epsilon, weight, bias)


def rms_norm(weights: Weights, name: str, size: int, epsilon: float) -> Norm:
    """RMSNorm over `size` features. Raises ModelFileError."""
    return Norm(NormKind.RMS, epsilon, weights.take(f"{name}.weight", (size,)))
