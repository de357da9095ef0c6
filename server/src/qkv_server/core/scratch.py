"""Working memory that a thread keeps from one tile to the next: what was touched once has no page faults any more."""

import math
import threading
from typing import Any

import numpy as np

from qkv_server.core.precision import DType

SMALL = 1024  # elements up to which NumPy has memory at hand sooner


class _Buffers(threading.local):
    def __init__(self) -> None:
        self.by_name: dict[tuple[str, DType], np.ndarray[Any, DType]] = {}


_buffers = _Buffers()


def scratch(name: str, shape: tuple[int, ...], dtype: DType) -> np.ndarray[Any, DType]:
    """An array of this thread's own, of any content, that lives until the thread asks for the same name again."""
    size = math.prod(shape)
    if size <= SMALL:
        return np.empty(shape, dtype)
    buffers = _buffers.by_name
    buffer = buffers.get((name, dtype))
    if buffer is None or buffer.size < size:
        buffer = buffers[name, dtype] = np.empty(size, dtype)
    return buffer[:size].reshape(shape)
