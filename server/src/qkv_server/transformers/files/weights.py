"""The tensors of a model by name, read when they are asked for."""

import math
import mmap
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from qkv_server.transformers.errors import ModelFileError

Array = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """A tensor in a file: what it is, and how to read it. `read` maps it into memory where the file allows that."""

    path: Path
    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]  # of what `read` answers
    read: Callable[[], npt.NDArray[np.generic]]
    mapped: mmap.mmap | None = None  # what it is a view of, if it is one

    @property
    def is_real(self) -> bool:
        """Whether its elements are floating-point numbers."""
        return self.dtype.kind not in "biu"  # ml_dtypes' are of kind V


class Weights(Mapping[str, npt.NDArray[np.generic]]):
    """Tensors under Hugging Face's names. `weights[name]` is read-only, in the type that the file has."""

    def __init__(self, path: Path, tensors: Mapping[str, StoredTensor]) -> None:
        self.path = path
        self._tensors = dict(tensors)

    def __getitem__(self, name: str) -> npt.NDArray[np.generic]:
        return self._tensors[name].read()

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)

    def __contains__(self, name: object) -> bool:
        return name in self._tensors  # Mapping's own would read the tensor

    def take(self, name: str, shape: tuple[int, ...]) -> Array:
        """The tensor in float32 and of that shape: mapped into memory if the file has it so, else widened.

        Raises ModelFileError if there is none, or if it has another shape.
        """
        stored = self._tensors.get(name)
        if stored is None:
            raise ModelFileError(self.path, f"has no tensor {name!r}, expected one of shape {shape}")
        if stored.shape != shape:
            raise ModelFileError(stored.path, f"tensor {name!r} has shape {stored.shape}, expected {shape}")
        if not stored.is_real:
            raise ModelFileError(stored.path, f"tensor {name!r} is {stored.dtype.name}, expected floating point")
        tensor = stored.read()
        # An unaligned view would be copied by every product that reads it.
        return np.require(tensor, np.float32, ["C_CONTIGUOUS", "ALIGNED"])

    def let_pages_go(self) -> None:
        """Let go of the memory that reading mapped files has filled. What is still in use is read again, when it is."""
        for mapped in {tensor.mapped for tensor in self._tensors.values() if tensor.mapped is not None}:
            mapped.madvise(mmap.MADV_DONTNEED)

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of a tensor, without reading it. Raises KeyError."""
        return self._tensors[name].shape

    @property
    def parameters(self) -> int:
        """How many numbers they are, those that only count left out."""
        return sum(math.prod(tensor.shape) for tensor in self._tensors.values() if tensor.is_real)

    @property
    def nbytes(self) -> int:
        """How many bytes they are, in the types that they have here."""
        return sum(math.prod(tensor.shape) * tensor.dtype.itemsize for tensor in self._tensors.values())
