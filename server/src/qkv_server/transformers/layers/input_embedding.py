"""How tokens enter a stack: a row of a table for each, scaled, with something added for its position."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from qkv_server.transformers.layers.normalization import Norm
from qkv_server.transformers.layers.output_layer import OutputLayer

Array = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False, slots=True)
class InputEmbedding:
    """Tokens 0 to V − 1 are rows of the table; token V is a row of zeros, with which Marian's decoders begin."""

    tokens: Array | OutputLayer  # (V, D), or what else has these rows
    scale: float = 1.0
    positions: Array | None = None  # (P, D), learned or computed; None: attention knows of positions
    norm: Norm | None = None

    def __call__(self, ids: Ids, positions: Ids) -> Array:
        """Tokens (N,) at positions (N,) → (N, D)."""
        size = len(self.tokens)
        if isinstance(self.tokens, OutputLayer):
            x = self.tokens.rows(np.minimum(ids, size - 1))
        else:
            x = self.tokens.take(ids, axis=0, mode="clip")
        x[ids == size] = 0
        x *= np.float32(self.scale)
        if self.positions is not None:
            x += self.positions[positions]
        return x if self.norm is None else self.norm(x, out=x)


def sinusoids(count: int, size: int, inclusive: bool) -> Array:
    """A table (count, D) of sines in the first half of D, cosines in the second, of wavelengths from 2π to 10000·2π.

    "Attention Is All You Need" (Vaswani et al., 2017, section 3.5) with its sines and cosines sorted. `inclusive`: the
    longest wavelength is 10000·2π, as in Marian; else the one after the last would be, as in the paper.
    """
    half = size // 2
    exponents = np.arange(half) / (half - 1 if inclusive else half)
    angles = np.arange(count)[:, None] * np.power(10000.0, -exponents)
    return np.concatenate((np.sin(angles), np.cos(angles)), axis=1).astype(np.float32)
