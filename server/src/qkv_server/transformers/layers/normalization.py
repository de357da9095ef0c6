"""Normalization over the last axis, float32 in and out. A row's result does not depend on the rows beside it.

These are passes over the whole array: hand them blocks that stay in the cache (`row_blocks`).
"""

from dataclasses import dataclass
from enum import Enum, auto

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]


class NormKind(Enum):
    """How activations are normalized."""

    LAYER = auto()  # `layer_norm`
    RMS = auto()  # `rms_norm`


@dataclass(frozen=True, eq=False, slots=True)
class Norm:
    """A normalization with its parameters, as a layer of a stack."""

    kind: NormKind
    epsilon: float
    weight: Array  # (D,)
    bias: Array | None = None  # (D,), of NormKind.LAYER alone

    def __call__(self, x: Array, out: Array | None = None) -> Array:
        """(…, D) → (…, D); `out` may be x itself."""
        if self.kind is NormKind.RMS:
            return rms_norm(x, self.weight, self.epsilon, out)
        return layer_norm(x, self.weight, self.bias, self.epsilon, out)


def layer_norm(x: Array, weight: Array, bias: Array | None, epsilon: float, out: Array | None = None) -> Array:
    """(x − mean) / √(variance + ε)·weight + bias of each row of x (…, D); weight and bias are (D,).

    `out` (…, D) may be x itself ("Layer Normalization", Ba, Kiros and Hinton, 2016; ONNX LayerNormalization).
    """
    mean = np.add.reduce(x, axis=-1, keepdims=True)
    mean /= np.float32(x.shape[-1])
    out = np.subtract(x, mean, out=out)
    out *= _inverse_root_mean_square(out, epsilon)
    out *= weight
    if bias is not None:
        out += bias
    return out


def rms_norm(x: Array, weight: Array, epsilon: float, out: Array | None = None) -> Array:
    """X / √(mean of x² + ε)·weight of each row of x (…, D); weight is (D,).

    `out` (…, D) may be x itself ("Root Mean Square Layer Normalization", Zhang and Sennrich, 2019; ONNX
    RMSNormalization).
    """
    out = np.multiply(x, _inverse_root_mean_square(x, epsilon), out=out)
    out *= weight
    return out


def _inverse_root_mean_square(x: Array, epsilon: float) -> Array:
    """1 / √(mean of x² + ε) of each row of x (…, D): (…, 1)."""
    mean: Array = np.vecdot(x, x)[..., None]
    mean /= np.float32(x.shape[-1])
    mean += np.float32(epsilon)
    np.sqrt(mean, out=mean)
    return np.reciprocal(mean, out=mean)
