"""The feed-forward block of every stack: two linear layers around an activation, plain or gated."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from qkv_server.core.precision import FLOAT32
from qkv_server.core.scratch import scratch
from qkv_server.transformers.layers.activations import Activation
from qkv_server.transformers.layers.halves import Halves
from qkv_server.transformers.layers.linear import SHARED_BYTES_ONE_ROW, Linear
from qkv_server.transformers.layers.row_blocks import row_blocks

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
            halves = self.inner.halves
            if halves is not None and len(x) == 1 and self._bytes >= SHARED_BYTES_ONE_ROW:
                return self._by_halves(x, halves)
            return self.outer(self._by_features(x))
        states = self.inner.product(x, scratch("feed-forward", (len(x), len(self.inner.weight)), FLOAT32))
        for rows in row_blocks(*states.shape):
            self._activate(states[rows])
        return self.outer(states[:, : states.shape[1] // 2] if self.gated else states)

    @property
    def _bytes(self) -> int:
        """Of both weights."""
        return self.inner.weight.nbytes + self.outer.weight.nbytes

    def _by_halves(self, x: Array, halves: Halves) -> Array:
        """(1, D) → (1, D): each of two threads goes with half of the features through all of the block.

        One handover for the block: for each of its products it would take as long as it saves.
        """
        size = self.outer.weight.shape[1]
        sums = np.empty((2, 1, len(self.outer.weight)), np.float32)

        def contribute(features: slice, out: Array) -> None:
            states = self._part(x, features)
            self.activation(states)
            if self.gated:
                states *= self._part(x, slice(size + features.start, size + features.stop))
            np.matmul(states, self.outer.weight[:, features].T, out=out)

        middle = size // 2
        halves.run(
            lambda: contribute(slice(0, middle), sums[0]),
            lambda: contribute(slice(middle, size), sums[1]),
        )
        total: Array = sums[0]
        total += sums[1]
        if self.outer.bias is not None:
            total += self.outer.bias
        return total

    def _part(self, x: Array, rows: slice) -> Array:
        """What some rows of the inner layer answer, (1, D) → (1, r)."""
        states: Array = x @ self.inner.weight[rows].T
        if self.inner.bias is not None:
            states += self.inner.bias[rows]
        return states

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
        for features in row_blocks(*inner.shape):
            self.activation(inner[features])
            if self.gated:
                inner[features] *= states[len(inner) :][features]
        return inner.T
