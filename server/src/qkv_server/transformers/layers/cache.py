"""What a decoder remembers of a stream: the keys and values of every layer."""

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


class KeyValueCache:
    """Keys and values of one stream, float32 (layers, 2, Hkv, capacity, D), of which the first `length` are known.

    Memory is taken for the whole capacity, but the system gives it page by page as tokens come.
    """

    def __init__(self, layers: int, kv_heads: int, head_size: int, capacity: int) -> None:
        self._memory = np.empty((layers, 2, kv_heads, capacity, head_size), np.float32)
        self.length = 0

    @property
    def capacity(self) -> int:
        """The most tokens that it holds."""
        return self._memory.shape[3]

    @property
    def nbytes(self) -> int:
        """What its memory takes when it is full."""
        return self._memory.nbytes

    def keys(self, layer: int) -> Array:
        """The keys of a layer, (Hkv, capacity, D): a view, to be written from `length` on."""
        keys: Array = self._memory[layer, 0]
        return keys

    def values(self, layer: int) -> Array:
        """The values of a layer, (Hkv, capacity, D): a view, to be written from `length` on."""
        values: Array = self._memory[layer, 1]
        return values

    def remember(self, layer: int, keys_values: Array) -> tuple[Array, Array]:
        """Write the keys and values (2, Hkv, N, D) of N new tokens behind those known: all of both, (Hkv, T, D).

        They count as known when every layer has them and `length` says so.
        """
        end = self.length + keys_values.shape[2]
        of_layer = self._memory[layer]
        of_layer[:, :, self.length : end] = keys_values
        return of_layer[0, :, :end], of_layer[1, :, :end]

    def room_for(self, tokens: int) -> None:
        """Raise ValueError if so many more tokens do not fit."""
        if self.length + tokens > self.capacity:
            raise ValueError(f"{self.length} tokens and {tokens} more do not fit into {self.capacity}")

    def truncate(self, length: int) -> None:
        """Forget what was read after the first `length` tokens."""
        if not 0 <= length <= self.length:
            raise ValueError(f"length is {length}, expected 0 to {self.length}")
        self.length = length

    def copy(self, length: int, capacity: int) -> "KeyValueCache":
        """A stream of its own that has read the first `length` tokens of this one."""
        if not 0 <= length <= min(self.length, capacity):
            raise ValueError(f"length is {length}, expected 0 to {min(self.length, capacity)}")
        layers, _, kv_heads, _, head_size = self._memory.shape
        copied = KeyValueCache(layers, kv_heads, head_size, capacity)
        copied._memory[:, :, :, :length] = self._memory[:, :, :, :length]
        copied.length = length
        return copied
