"""The fields of an encoded message, one by one, without reading what is in them.

(Protocol Buffers, Encoding, "Message Structure".)
"""

from collections.abc import Iterator
from enum import IntEnum
from typing import NamedTuple

from qkv.varint import read_varint, write_varint

MOST_FIELDS = 1000  # that are worth looking at one by one


class WireType(IntEnum):
    """How long a field is; groups are not in use."""

    VARINT = 0
    FIXED64 = 1
    LENGTH_DELIMITED = 2
    FIXED32 = 5


class Field(NamedTuple):
    """Where a field lies: from `begin` to `end`, and if it has a length, its contents from `inside`."""

    number: int
    begin: int
    inside: int | None
    end: int


class UnusualError(Exception):
    """Bytes that are for protobuf to understand."""


def fields(data: memoryview, start: int, end: int) -> Iterator[Field]:
    """The fields of a message that lies between two places; raises UnusualError where they are none, or groups."""
    begin = start
    try:
        while begin < end:
            tag, after = read_varint(data, begin)
            inside = None
            match tag & 7:
                case WireType.VARINT:
                    _, after = read_varint(data, after)
                case WireType.FIXED64:
                    after += 8
                case WireType.FIXED32:
                    after += 4
                case WireType.LENGTH_DELIMITED:
                    size, inside = read_varint(data, after)
                    after = inside + size
                case _:
                    raise UnusualError
            if after > end:
                raise UnusualError
            yield Field(tag >> 3, begin, inside, after)
            begin = after
    except IndexError:
        raise UnusualError from None


def length_delimited(number: int, size: int) -> bytes:
    """What stands before so many bytes that are the contents of a field: its tag, and how many they are."""
    return write_varint(number << 3 | WireType.LENGTH_DELIMITED) + write_varint(size)
