"""A normalization with its parameters, as a layer of a stack."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from qkv_server.transformers.layers.normalization import layer_norm, rms_norm
from qkv_server.transformers.stacks.description import NormKind

Array = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False, slots=True)
class Norm:
    """Normalizes rows (N, D)."""

    kind: NormKind
    epsilon: float
    weight: Array  # (D,)
    bias: Array | None = None  # (D,), of NormKind.LAYER alone

    def __call__(self, x: Array, out: Array | None = None) -> Array:
        """(N, D) → (N, D); `out` may be x itself."""
        if self.kind is NormKind.RMS:
            return rms_norm(x, self.weight, self.epsilon, out)
        return layer_norm(x, self.weight, self.bias, self.epsilon, out)
