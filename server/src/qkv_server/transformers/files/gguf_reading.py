"""What the `gguf` library reads of a model's files; it is imported only for that, which takes half a second."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from qkv_server.transformers.errors import ModelFileError
from qkv_server.transformers.files.gguf_metadata import Metadata

if TYPE_CHECKING:
    from gguf import GGUFReader, ReaderTensor


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor, and the file in which it is."""

    path: Path
    stored: "ReaderTensor"

    @property
    def shape(self) -> tuple[int, ...]:
        """In the usual order; GGUF counts sizes from the last."""
        return tuple(int(size) for size in reversed(self.stored.shape))

    def widened(self) -> npt.NDArray[np.float32]:
        """In float32. Raises ModelFileError."""
        from gguf.quants import dequantize  # noqa: PLC0415 - see above

        try:
            return np.asarray(dequantize(self.stored.data, self.stored.tensor_type), np.float32)
        except Exception as error:  # what a broken file does to the library is not documented
            raise ModelFileError(self.path, f"tensor {self.stored.name!r} cannot be read: {error}") from error


def read(parts: Sequence[Path]) -> tuple[Metadata, dict[str, Tensor]]:
    """The metadata of the first part, and the tensors of all by name. Raises ModelFileError."""
    readers = [_opened(path) for path in parts]
    metadata = [_metadata(path, reader) for path, reader in zip(parts, readers, strict=True)]
    for number, of_part in enumerate(metadata):
        _check_place(of_part, number, len(parts))
    tensors: dict[str, Tensor] = {}
    for path, reader in zip(parts, readers, strict=True):
        for tensor in reader.tensors:
            if tensor.name in tensors:
                raise ModelFileError(path, f"has tensor {tensor.name!r}, and so has {tensors[tensor.name].path.name}")
            tensors[tensor.name] = Tensor(path, tensor)
    announced = metadata[0].get("split.tensors.count", int)
    if announced not in {None, len(tensors)}:
        raise ModelFileError(parts[0], f"says that its parts have {announced} tensors, they have {len(tensors)}")
    return metadata[0], tensors


def _check_place(metadata: Metadata, number: int, parts: int) -> None:
    """Raise ModelFileError if a file is not the part that its name says; a whole one says nothing."""
    own, count = metadata.get("split.no", int) or 0, metadata.get("split.count", int) or 1
    if (own, count) != (number, parts):
        problem = f"is part {own + 1} of {count}, its name says {number + 1} of {parts}"
        raise ModelFileError(metadata.path, f"{problem}: parts are called PREFIX-00001-of-00003.gguf and so on")


def _opened(path: Path) -> "GGUFReader":
    try:
        from gguf import GGUFReader  # noqa: PLC0415 - see above
    except ImportError:
        raise ModelFileError(path, "needs the package gguf: pip install 'qkv-server[models]'") from None
    try:
        return GGUFReader(path)
    except Exception as error:  # what a broken file does to this reader is not documented
        raise ModelFileError(path, f"is truncated, or no GGUF file: {error}") from error


def _metadata(path: Path, reader: "GGUFReader") -> Metadata:
    try:
        return Metadata(path, {name: field.contents() for name, field in reader.fields.items()})
    except Exception as error:  # as above
        raise ModelFileError(path, f"its metadata cannot be read: {error}") from error
