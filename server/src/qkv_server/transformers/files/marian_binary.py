"""Marian's .bin format, version 1.

Little-endian: the version, the number of items, for each its four lengths (name, type, shape, data; 8 bytes each), all
names, all shapes (4 bytes a size), padding, and the data of each (marian-dev, src/common/binary.cpp). Quantized items
are int8 and after them one float32, the multiplier: value = int8 / multiplier (intgemm).
"""

import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from qkv_server.transformers.errors import ModelFileError

CHAR, FLOAT32, INTGEMM8 = 0x0101, 0x0404, 0x4101
_BYTES = {CHAR: 1, FLOAT32: 4, INTGEMM8: 1}
_MOST_ITEMS = 100_000


@dataclass(frozen=True, slots=True)
class Item:
    """One item of a file; `begin` is where its data lies."""

    kind: int
    shape: tuple[int, ...]
    begin: int
    nbytes: int

    @property
    def count(self) -> int:
        """The number of its elements."""
        return math.prod(self.shape)


@dataclass(frozen=True, slots=True)
class MarianBinary:
    """A file and its items by name."""

    path: Path
    items: Mapping[str, Item]
    data: npt.NDArray[np.uint8]  # the whole file, mapped into memory

    def values(self, name: str) -> npt.NDArray[np.float32]:
        """The numbers of an item in the order in which they lie, (count,)."""
        item = self.items[name]
        raw = self.data[item.begin : item.begin + item.count * _BYTES[item.kind]]
        if item.kind == FLOAT32:
            return raw.view(np.float32)
        multiplier = self.data[item.begin + item.count :][:4].view(np.float32)
        return raw.view(np.int8).astype(np.float32) / multiplier

    def text(self, name: str) -> str:
        """The text of an item of characters, which ends at a zero byte."""
        item = self.items[name]
        return self.data[item.begin : item.begin + item.count].tobytes().split(b"\0")[0].decode("utf-8", "replace")


def open_binary(path: Path) -> MarianBinary:
    """The items of a file, each bound checked. Raises ModelFileError."""
    if path.stat().st_size < 16:
        raise ModelFileError(path, "is too short for a Marian model")
    data: npt.NDArray[np.uint8] = np.asarray(np.memmap(path, np.uint8, mode="r"))
    reader = _Reader(path, data)
    version, count = reader.numbers("Q", 2)
    if version != 1:
        raise ModelFileError(path, f"is version {version} of Marian's format, expected 1")
    if count > _MOST_ITEMS:
        raise ModelFileError(path, f"says that it has {count} items: it is broken")
    headers = [reader.numbers("Q", 4) for _ in range(count)]
    names = [_name(path, reader.raw(name_length)) for name_length, _, _, _ in headers]
    shapes = [reader.numbers("i", rank) for _, _, rank, _ in headers]
    reader.raw(reader.numbers("Q", 1)[0])  # padding, so that data begins at a multiple of 256
    items = {
        name: _item(path, name, kind, shape, nbytes, reader.skip(nbytes))
        for name, shape, (_, kind, _, nbytes) in zip(names, shapes, headers, strict=True)
    }
    if len(items) < count:
        raise ModelFileError(path, "has a name twice")
    return MarianBinary(path, items, data)


def _name(path: Path, raw: bytes) -> str:
    try:
        return raw.rstrip(b"\0").decode()
    except UnicodeDecodeError:
        raise ModelFileError(path, f"has an item named {raw!r}, expected UTF-8") from None


def _item(path: Path, name: str, kind: int, shape: tuple[int, ...], nbytes: int, begin: int) -> Item:
    if kind not in _BYTES:
        known = ", ".join(map(hex, _BYTES))
        raise ModelFileError(path, f"{name!r} has type {kind:#x}, expected one of {known} (text, float32, intgemm8)")
    if any(size < 0 for size in shape):
        raise ModelFileError(path, f"{name!r} has shape {shape}")
    item = Item(kind, shape, begin, nbytes)
    needed = item.count * _BYTES[kind] + (4 if kind == INTGEMM8 else 0)
    if nbytes < needed:
        raise ModelFileError(path, f"{name!r} has {nbytes} bytes, expected at least {needed} for shape {shape}")
    return item


class _Reader:
    """Reads a file from its begin, and never beyond its end."""

    def __init__(self, path: Path, data: npt.NDArray[np.uint8]) -> None:
        self._path = path
        self._data = data
        self._at = 0

    def skip(self, length: int) -> int:
        """Where the next bytes begin."""
        begin = self._at
        if length > len(self._data) - begin:
            raise ModelFileError(self._path, f"is truncated: {length} bytes are said to lie at {begin}")
        self._at += length
        return begin

    def raw(self, length: int) -> bytes:
        begin = self.skip(length)
        return self._data[begin : begin + length].tobytes()

    def numbers(self, kind: str, count: int) -> tuple[int, ...]:
        size = struct.calcsize(f"<{kind}")
        if count > len(self._data):
            raise ModelFileError(self._path, f"is broken: {count} numbers are said to lie at {self._at}")
        return struct.unpack(f"<{count}{kind}", self.raw(size * count))
