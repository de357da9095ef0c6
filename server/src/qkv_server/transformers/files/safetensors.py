"""The safetensors format: tensors that are mapped into memory, never copied.

A file is the length of its header (8 bytes, little-endian), the header (a JSON object: name → dtype, shape,
data_offsets from the end of the header; `__metadata__` → strings), and the data, which tensors cover without gaps
(https://github.com/huggingface/safetensors, "Format"). The library of that name copies each tensor that it reads; views
of one mapping need no memory of their own, and processes share them.

A file that is mapped must not be written over: replace it by a new one (rename), as downloads and package managers do.
"""

import json
import math
import mmap
import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt

from qkv_server.transformers.errors import ModelFileError
from qkv_server.transformers.files.weights import StoredTensor

DTYPES: Mapping[str, np.dtype[Any]] = {
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "BF16": np.dtype(ml_dtypes.bfloat16),
    "F8_E4M3": np.dtype(ml_dtypes.float8_e4m3fn),
    "F8_E5M2": np.dtype(ml_dtypes.float8_e5m2),
    "I64": np.dtype("<i8"),
    "I32": np.dtype("<i4"),
    "I16": np.dtype("<i2"),
    "I8": np.dtype("i1"),
    "U64": np.dtype("<u8"),
    "U32": np.dtype("<u4"),
    "U16": np.dtype("<u2"),
    "U8": np.dtype("u1"),
    "BOOL": np.dtype("?"),
}
_LENGTH = struct.Struct("<Q")
_MOST_HEADER_BYTES = 100_000_000  # the bound of the format
_ALIGNMENT = 64  # of the data that `write` writes: a cache line


@dataclass(frozen=True, slots=True)
class Entry:
    """Where a tensor lies, in bytes from the begin of the file."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    begin: int
    end: int


def read(path: Path) -> dict[str, StoredTensor]:
    """The tensors of a file by name. Raises ModelFileError."""
    entries = read_entries(path)
    if not entries:
        return {}
    with path.open("rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    return {
        name: StoredTensor(path, entry.shape, entry.dtype, partial(_view, mapped, entry), mapped)
        for name, entry in entries.items()
    }


def _view(mapped: mmap.mmap, entry: Entry) -> npt.NDArray[Any]:
    count = math.prod(entry.shape)
    return np.frombuffer(mapped, entry.dtype, count, entry.begin).reshape(entry.shape)


def read_entries(path: Path) -> dict[str, Entry]:
    """What the header of a file says, each bound checked. Raises ModelFileError."""
    size = path.stat().st_size
    with path.open("rb") as file:
        prefix = file.read(_LENGTH.size)
        if len(prefix) < _LENGTH.size:
            raise ModelFileError(path, f"is {size} bytes long, too short for a safetensors file")
        (length,) = _LENGTH.unpack(prefix)
        if length > min(_MOST_HEADER_BYTES, size - _LENGTH.size):
            raise ModelFileError(
                path, f"is truncated, or no safetensors file: a header of {length} bytes in a file of {size}"
            )
        header = _parsed(path, file.read(length))
    data = _LENGTH.size + length
    entries = {name: _entry(path, name, said, data, size) for name, said in header.items() if name != "__metadata__"}
    _check_cover(path, entries, data, size)
    return entries


def _parsed(path: Path, header: bytes) -> dict[str, Any]:
    try:
        parsed = json.loads(header, object_pairs_hook=_distinct)
    except (ValueError, RecursionError) as error:
        raise ModelFileError(path, f"its header is no JSON: {error}") from None
    if not isinstance(parsed, dict):
        raise ModelFileError(path, f"its header is a JSON {type(parsed).__name__}, expected an object")
    return parsed


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name comes twice")
    return found


def _entry(path: Path, name: str, said: Any, data: int, size: int) -> Entry:
    """One tensor of the header; `data` is where offsets count from, `size` that of the file."""

    def refused(problem: str) -> ModelFileError:
        return ModelFileError(path, f"tensor {name!r} {problem}")

    if not isinstance(said, dict) or not said.keys() >= {"dtype", "shape", "data_offsets"}:
        raise refused("is described without dtype, shape and data_offsets")
    kind, shape, offsets = said["dtype"], said["shape"], said["data_offsets"]
    dtype = DTYPES.get(kind) if isinstance(kind, str) else None
    if dtype is None:
        raise refused(f"has dtype {kind!r}, expected one of {', '.join(DTYPES)}")
    if not _counts(shape):
        raise refused(f"has shape {shape!r}, expected a list of sizes")
    if not _counts(offsets) or len(offsets) != 2:
        raise refused(f"has data_offsets {offsets!r}, expected begin and end")
    begin, end = offsets
    if begin > end or data + end > size:
        raise refused(f"lies at bytes {begin} to {end} of {size - data}: the file is truncated or broken")
    needed = math.prod(shape) * dtype.itemsize
    if end - begin != needed:
        raise refused(f"has {end - begin} bytes, expected {needed} for {kind} {tuple(shape)}")
    return Entry(dtype, tuple(shape), data + begin, data + end)


def _counts(numbers: Any) -> bool:
    """Whether these are numbers of things: no booleans, which Python counts as such."""
    return isinstance(numbers, list) and all(type(number) is int and number >= 0 for number in numbers)


def _check_cover(path: Path, entries: Mapping[str, Entry], data: int, size: int) -> None:
    """Tensors must cover the data without gaps or overlaps."""
    reached, before = data, "the header"
    for name, entry in sorted(entries.items(), key=lambda item: (item[1].begin, item[1].end)):
        if entry.begin != reached:
            what = "overlap" if entry.begin < reached else "have a gap between them"
            raise ModelFileError(path, f"{before} and tensor {name!r} {what}")
        reached, before = entry.end, f"tensor {name!r}"
    if reached != size:
        raise ModelFileError(path, f"has {size - reached} bytes after {before}")


def write(path: Path, shapes: Mapping[str, tuple[int, ...]], tensors: Iterable[npt.NDArray[np.float32]]) -> None:
    """A file of float32 tensors, which are asked for one by one, in the order of `shapes`."""
    header = {}
    for name, (begin, shape) in zip(shapes, _starts(shapes.values()), strict=True):
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [begin, begin + 4 * math.prod(shape)]}
    text = json.dumps(header).encode()
    text += b" " * (-(_LENGTH.size + len(text)) % _ALIGNMENT)
    with path.open("wb") as file:
        file.write(_LENGTH.pack(len(text)) + text)
        for (name, shape), tensor in zip(shapes.items(), tensors, strict=True):
            if tensor.shape != shape:
                raise ValueError(f"tensor {name!r} has shape {tensor.shape}, announced {shape}")
            file.write(np.ascontiguousarray(tensor, "<f4").data)


def _starts(shapes: Iterable[tuple[int, ...]]) -> Iterator[tuple[int, tuple[int, ...]]]:
    begin = 0
    for shape in shapes:
        yield begin, shape
        begin += 4 * math.prod(shape)
