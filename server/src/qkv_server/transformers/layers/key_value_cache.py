"""What a decoder remembers of a stream: the keys and values of every layer."""

import contextlib
import math
import mmap
from typing import Any

import numpy as np
import numpy.typing as npt

from qkv_server.core.precision import FLOAT32

Array = npt.NDArray[Any]

MAPPED_FROM = 32 * 2**20  # bytes that malloc has from the system each time anew; less it may have from those before


class KeyValueCache:
    """Keys and values of one stream, float32 (layers, 2, Hkv, capacity, D), of which the first `length` are known.

    Memory is taken for the whole capacity, but the system gives it page by page as tokens come.
    """

    def __init__(self, layers: int, kv_heads: int, head_size: int, capacity: int) -> None:
        self._memory = _paged((layers, 2, kv_heads, capacity, head_size))
        self.capacity = capacity
        self.length = 0

    @property
    def nbytes(self) -> int:
        """What its memory takes when it is full."""
        return self._memory.nbytes

    def remember(self, layer: int, keys_values: Array) -> tuple[Array, Array]:
        """Write the keys and values (2, Hkv, N, D) of N new tokens behind those known: all of both, (Hkv, T, D).

        They count as known when every layer has them and `length` says so.
        """
        end = self.length + keys_values.shape[2]
        of_layer = self._memory[layer]
        of_layer[:, :, self.length : end] = keys_values
        return of_layer[0, :, :end], of_layer[1, :, :end]

    def copy(self, length: int, capacity: int) -> "KeyValueCache":
        """A stream of its own that has read the first `length` tokens of this one."""
        if not 0 <= length <= min(self.length, capacity):
            raise ValueError(f"length is {length}, expected 0 to {min(self.length, capacity)}")
        layers, _, kv_heads, _, head_size = self._memory.shape
        copied = KeyValueCache(layers, kv_heads, head_size, capacity)
        copied._memory[:, :, :, :length] = self._memory[:, :, :, :length]
        copied.length = length
        return copied


def _paged(shape: tuple[int, ...]) -> Array:
    """An array, float32, of anything. Raises MemoryError.

    A large one is in small pages. The first token of each head of each layer lies in a page of its own: were these
    huge, the system would give, and clear, nearly all of the memory at once, in 0.7 s for 7,000 tokens of SmolLM2.
    """
    nbytes = math.prod(shape) * FLOAT32.itemsize
    if nbytes < MAPPED_FROM or not hasattr(mmap, "MADV_NOHUGEPAGE"):
        return np.empty(shape, np.float32)
    try:
        pages = mmap.mmap(-1, nbytes)
    except OSError:
        raise MemoryError(f"no memory for {nbytes} bytes of keys and values") from None
    with contextlib.suppress(OSError):  # of a system that knows no huge pages
        pages.madvise(mmap.MADV_NOHUGEPAGE)
    return np.frombuffer(pages, np.float32).reshape(shape)
