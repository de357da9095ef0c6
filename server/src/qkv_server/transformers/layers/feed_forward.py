"""The feed-forward block of every stack: two linear layers around an activation, plain or gated."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from qkv_server.core.precision import FLOAT32
from qkv_server.core.scratch import scratch
from qkv_server.transformers.layers.activations import Activation
from qkv_server.transformers.layers.cache_blocks import cache_blocks
from qkv_server.transformers.layers.linear import Linear

Array = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False, slots=True)
class FeedForward:
    """outer(activation(inner(x))), or gated, outer(activation(gate(x))·up(x)) with gate and up fused in one layer.

    "GLU Variants Improve Transformer" (Shazeer, 2020).
    """

    inner: Linear  # (F, D); gated (2F, D), gate over up
    outer: Linear  # (D, F)
    activation: Activation
    gated: bool = False

    def __call__(self, x: Array) -> Array:
        """(N, D) → (N, D)."""
        if self.inner.features_first:
            return self.outer(self._by_features(x))
        states = self.inner.product(x, scratch("feed-forward", (len(x), len(self.inner.weight)), FLOAT32))
        for rows in cache_blocks(*states.shape):
            self._activate(states[rows])
        return self.outer(states[:, : states.shape[1] // 2] if self.gated else states)

    def _activate(self, states: Array) -> None:
        """Bias and activation of (n, F), or of (n, 2F), whose first half has the result then, in place."""
        if self.inner.bias is not None:
            states += self.inner.bias
        if self.gated:
            gate, up = np.split(states, 2, axis=1)
            self.activation(gate)
            gate *= up
        else:
            self.activation(states)

    def _by_features(self, x: Array) -> Array:
        """What the outer layer reads, (N, F), computed as it lies in memory: (F, N)."""
        states = self.inner.product(x).T
        if self.inner.bias is not None:
            states += self.inner.bias[:, None]
        inner = states[: len(states) // 2] if self.gated else states
        for features in cache_blocks(*inner.shape):
            self.activation(inner[features])
            if self.gated:
                inner[features] *= states[len(inner) :][features]
        return inner.T
