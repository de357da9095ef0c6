"""Checkpoints that torch.save wrote as a zip archive, without torch, and without running what a pickle asks for.

An archive has `data.pkl`, which names the tensors, and their numbers in `data/0`, `data/1` … A pickle is a program; the
one reader here lets it call two things, `collections.OrderedDict` and our stand-in of torch's rebuilding of a tensor,
and refuses everything else.
"""

import io
import math
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt

from qkv_server.transformers.errors import ModelFileError
from qkv_server.transformers.files.weights import StoredTensor

_STORAGES: Mapping[str, np.dtype[Any]] = {
    "DoubleStorage": np.dtype("<f8"),
    "FloatStorage": np.dtype("<f4"),
    "HalfStorage": np.dtype("<f2"),
    "BFloat16Storage": np.dtype(ml_dtypes.bfloat16),
    "LongStorage": np.dtype("<i8"),
    "IntStorage": np.dtype("<i4"),
    "ByteStorage": np.dtype("u1"),
    "BoolStorage": np.dtype("?"),
}


@dataclass(frozen=True, slots=True)
class _StorageType:
    dtype: np.dtype[Any]


@dataclass(frozen=True, slots=True)
class _Storage:
    """Numbers in the archive, `key` names their member."""

    dtype: np.dtype[Any]
    key: str
    count: int


@dataclass(frozen=True, slots=True)
class _Tensor:
    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class _NamedTensors(OrderedDict[str, Any]):
    """A state_dict. torch sets attributes on it (its versions of modules), which say nothing of the weights."""

    def __setstate__(self, state: object) -> None:
        """Take nothing over."""


class _Refusal(pickle.UnpicklingError):
    """What this reader refuses, in words that may be shown."""


def _rebuilt(storage: object, offset: object, shape: object, strides: object, *_: object) -> _Tensor:
    """What torch._utils._rebuild_tensor_v2 is asked for; gradients and hooks are passed over."""
    if not isinstance(storage, _Storage) or type(offset) is not int or offset < 0:
        raise _Refusal("a tensor of no storage")
    for sizes in (shape, strides):
        if not isinstance(sizes, tuple) or not all(type(size) is int and size >= 0 for size in sizes):
            raise _Refusal(f"a tensor with sizes {sizes!r}")
    assert isinstance(shape, tuple) and isinstance(strides, tuple)  # noqa: S101, PT018 - said above, for mypy
    last = offset + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=False))
    if len(shape) != len(strides) or (math.prod(shape) and last >= storage.count):
        raise _Refusal(f"a tensor {shape} beyond its storage of {storage.count} numbers")
    return _Tensor(storage, offset, shape, strides)


class _Unpickler(pickle.Unpickler):
    """Calls nothing but what `find_class` answers."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return _NamedTensors
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _rebuilt
        if module == "torch" and name in _STORAGES:
            return _StorageType(_STORAGES[name])
        raise _Refusal(f"{module}.{name}")

    def persistent_load(self, pid: Any) -> _Storage:
        """A storage: ("storage", its type, its key, the device that it was on, how many numbers)."""
        match pid:
            case ("storage", _StorageType(dtype=dtype), str(key), str(), int(count)):
                return _Storage(dtype, key, count)
        raise _Refusal(f"a reference to {pid!r}")


def read(path: Path) -> dict[str, StoredTensor]:
    """The tensors of a checkpoint by name. Raises ModelFileError."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = {member.filename: member for member in archive.infolist()}
            (described,) = (name for name in members if name.endswith("/data.pkl"))
            if any(member.compress_type != zipfile.ZIP_STORED for member in members.values()):
                raise ModelFileError(path, "is compressed, which torch.save never does")
            named = unpickle(path, archive.read(described))
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise ModelFileError(path, f"is no zip archive of torch.save: {error}") from None
    if not isinstance(named, dict) or not all(isinstance(tensor, _Tensor) for tensor in named.values()):
        raise ModelFileError(path, "has something else than tensors by name")
    folder = described.removesuffix("data.pkl") + "data/"
    for name, tensor in named.items():
        member = members.get(folder + tensor.storage.key)
        needed = tensor.storage.count * tensor.storage.dtype.itemsize
        if member is None or member.file_size != needed:
            found = "missing" if member is None else f"{member.file_size} bytes long"
            raise ModelFileError(path, f"the numbers of {name!r} are {found}, expected {needed} bytes")
    return {
        str(name): StoredTensor(path, tensor.shape, tensor.storage.dtype, partial(_load, path, folder, tensor))
        for name, tensor in named.items()
    }


def unpickle(path: Path, data: bytes) -> Any:
    """What a pickle of plain containers and tensors says. Raises ModelFileError, also for any that asks for more."""
    try:
        return _Unpickler(io.BytesIO(data)).load()
    except _Refusal as refusal:
        raise ModelFileError(path, f"its pickle asks for {refusal}, which is refused") from None
    except Exception as error:  # noqa: BLE001 - a broken pickle raises nearly anything
        raise ModelFileError(path, f"its pickle is broken: {type(error).__name__}: {error}") from None


def _load(path: Path, folder: str, tensor: _Tensor) -> npt.NDArray[Any]:
    try:
        with zipfile.ZipFile(path) as archive:
            raw = archive.read(folder + tensor.storage.key)
    except (zipfile.BadZipFile, OSError, KeyError) as error:
        raise ModelFileError(path, f"the numbers {tensor.storage.key!r} cannot be read: {error}") from None
    numbers = np.frombuffer(raw, tensor.storage.dtype)[tensor.offset :]
    strides = [stride * numbers.itemsize for stride in tensor.strides]
    return np.lib.stride_tricks.as_strided(numbers, tensor.shape, strides, writeable=False)
