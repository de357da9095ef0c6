"""SSRU, the recurrence that takes the place of self-attention in decoders that must be fast.

"From Research to Production and Back: Ludicrously Fast Neural Machine Translation" (Kim et al., 2019, section 3.1); the
students of Bergamot have it. Letters in the shapes: n streams, D hidden size.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from qkv_server.transformers.layers.linear import Linear

Array = npt.NDArray[np.float32]


class RecurrentMemory:
    """What a recurrent decoder remembers of a stream: one state of each layer, whatever it has read."""

    def __init__(self, layers: int, hidden_size: int, capacity: int) -> None:
        self.states = np.zeros((layers, hidden_size), np.float32)
        self.capacity = capacity
        self.length = 0

    @property
    def nbytes(self) -> int:
        """What its memory takes."""
        return self.states.nbytes


@dataclass(frozen=True, eq=False, slots=True)
class Ssru:
    """c = f ⊙ c' + (1 − f) ⊙ W·x with f = σ(W_f·x + b_f) and the state c' of the token before; it answers relu(c)."""

    projections: Linear  # (2·D, D): W_f and below it W

    def __call__(self, x: Array, memories: Sequence[RecurrentMemory], layer: int) -> Array:
        """Read one token in each of n streams: (n, D) → (n, D), and their states change."""
        size = x.shape[-1]
        projected = self.projections(x)
        forget, candidate = projected[:, :size], projected[:, size:]
        # σ(a) = ½·(1 + tanh(a / 2)) overflows nowhere
        forget *= np.float32(0.5)
        np.tanh(forget, out=forget)
        forget += np.float32(1)
        forget *= np.float32(0.5)
        states = np.stack([memory.states[layer] for memory in memories])
        states -= candidate  # f ⊙ c' + (1 − f) ⊙ y = y + f ⊙ (c' − y)
        states *= forget
        states += candidate
        for memory, state in zip(memories, states, strict=True):
            memory.states[layer] = state
        np.maximum(states, 0, out=states)
        return states
