"""Variable-width integers: groups of 7 bits, the lowest first; the highest bit of a byte says that more follow.

(Protocol Buffers, Encoding, "Base 128 Varints".)
"""

from qkv.codec import Buffer

LONGEST = 10  # bytes, of 64 bits


def write_varint(number: int) -> bytes:
    """The bytes of a number."""
    groups = bytearray()
    while number > 0x7F:
        groups.append(number & 0x7F | 0x80)
        number >>= 7
    groups.append(number)
    return bytes(groups)


def read_varint(data: Buffer, start: int) -> tuple[int, int]:
    """The number that begins at a place, and where it ends; raises IndexError where it does not end in time."""
    number = 0
    for group in range(LONGEST):
        byte = data[start + group]
        number |= (byte & 0x7F) << 7 * group
        if byte <= 0x7F:
            return number, start + group + 1
    raise IndexError("a varint of more than 64 bits")
