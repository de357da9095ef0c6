"""Messages to bytes and back, without a copy of what is large but the one into the bytes.

The bytes of a protobuf message may be followed by more bytes of it: what stands there is merged into the message
(Protocol Buffers, Encoding, "Last One Wins"). So the data of a large tensor need not be in a message to be in its
bytes; and who receives them can leave it where it is.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache, reduce
from typing import Any, Generic, TypeAlias, TypeVar

from google.protobuf.message import Message

from qkv import codec
from qkv.fields import MOST_FIELDS, UnusualError, fields, length_delimited
from qkv.v1.tensor_pb2 import Tensor

Descriptor: TypeAlias = Any  # protobuf's, of whichever implementation it has
FieldDescriptor: TypeAlias = Any
M_co = TypeVar("M_co", bound=Message, covariant=True)

LARGE = 2**15  # bytes, from which on copying an array takes longer than keeping it apart
ALIGNMENT = 8  # bytes, of the largest element

DATA = Tensor.DESCRIPTOR.fields_by_name["data"]


# Empty data that takes 0 and 2 to 9 bytes: a length may be written longer than it needs to be.
_EMPTY = [b"\x1a" + b"\x80" * more + b"\x00" for more in range(4)]
PADDINGS = (b"", *_EMPTY, _EMPTY[0] + _EMPTY[2], _EMPTY[1] + _EMPTY[2], _EMPTY[2] + _EMPTY[2], _EMPTY[2] + _EMPTY[3])


def data_of(operand: str) -> str:
    """The path of the data in the field of an operand."""
    return f"{operand}.tensor.data"


@dataclass(frozen=True, slots=True)
class Draft(Generic[M_co]):
    """A message that is being made.

    `apart` holds the data of its large tensors, which is not in the message, by the path of its field; None where all
    data is in the message. What is in a field of the message is a draft too, whose path ends in a dot.
    """

    message: M_co
    apart: dict[str, memoryview] | None = field(default_factory=dict)
    path: str = ""

    def part(self, name: str) -> "Draft[Any]":
        """The draft of the message in a field."""
        return Draft(getattr(self.message, name), self.apart, f"{self.path}{name}.")

    def put(self, name: str, array: codec.Array) -> None:
        """Set an operand to a tensor. A large array is read when the message is encoded, not before."""
        self.part(name).put_tensor("tensor", array)

    def put_tensor(self, name: str, array: codec.Array) -> None:
        """Set a field that is a tensor, as `put` sets an operand."""
        tensor = getattr(self.message, name)
        if self.apart is None or array.nbytes < LARGE:
            codec.fill_tensor(tensor, array)
        else:
            self.apart[f"{self.path}{name}.data"] = codec.describe(tensor, array)

    def whole(self) -> M_co:
        """The message with all data in it."""
        for path, data in (self.apart or {}).items():
            *enclosing, last = path.split(".")
            setattr(reduce(getattr, enclosing, self.message), last, bytes(data))
        return self.message

    def encode(self) -> bytes:
        """The bytes of the whole message; data that was apart begins at a multiple of ALIGNMENT."""
        pieces: list[bytes | memoryview] = [self.message.SerializeToString()]
        end = len(pieces[0])
        for path, data in (self.apart or {}).items():
            header = _header(self.message.DESCRIPTOR, path, len(data), end)
            pieces += (header, data)
            end += len(header) + len(data)
        return b"".join(pieces)


@dataclass(frozen=True, slots=True)
class Received(Generic[M_co]):
    """A message that has come. `apart` holds data of its tensors that is not in it, by the path of its field."""

    message: M_co
    apart: Mapping[str, memoryview] = field(default_factory=dict)


def receive(payload: bytes, kind: type[M_co]) -> Received[M_co]:
    """The message that some bytes are; raises DecodeError if they are none.

    Data is left apart where it is large and comes once; what is in repeated fields never is.
    """
    if len(payload) >= LARGE:
        splitter = _Splitter(payload)
        try:
            rest = splitter.split(kind.DESCRIPTOR, 0, len(payload), "")
        except UnusualError:
            pass  # protobuf knows what such bytes mean, or that they mean nothing
        else:
            return Received(kind.FromString(b"".join(rest)), splitter.apart)
    return Received(kind.FromString(payload))


def _header(message: Descriptor, path: str, size: int, start: int) -> bytes:
    """What stands before so many bytes that are the data in a field of a path; it begins at a place of the whole.

    Empty data comes first, as long as it takes to align what follows.
    """
    header = b""
    for padding in PADDINGS:
        header = padding + length_delimited(DATA.number, size)
        for enclosing in reversed(_fields_of(message, path)[:-1]):
            header = length_delimited(enclosing.number, len(header) + size) + header
        if (start + len(header)) % ALIGNMENT == 0:
            break
    return header


@cache
def _fields_of(message: Descriptor, path: str) -> tuple[FieldDescriptor, ...]:
    """The fields along a path that begins at a message."""
    name, _, rest = path.partition(".")
    inner = message.fields_by_name[name]
    return (inner, *(_fields_of(inner.message_type, rest) if rest else ()))


@cache
def _ways(message: Descriptor) -> dict[int, FieldDescriptor]:
    """The fields that are data of a tensor or lead to it, without those that repeat, by number."""
    if message is Tensor.DESCRIPTOR:
        return {DATA.number: DATA}
    inner = (each for each in message.fields if each.message_type is not None and not each.is_repeated)
    return {each.number: each for each in inner if _ways(each.message_type)}


class _Splitter:
    """Goes over the fields of an encoded message. `apart` is the data found so far, by the path of its field."""

    def __init__(self, payload: bytes) -> None:
        self.apart: dict[str, memoryview] = {}
        self._payload = memoryview(payload)
        self._left = MOST_FIELDS

    def split(self, message: Descriptor, start: int, end: int, path: str) -> list[bytes | memoryview]:
        """The pieces of a message that lies between two places, without the data put apart. The path ends in a dot."""
        pieces: list[bytes | memoryview] = []
        ways = _ways(message)
        kept = start  # from where on the bytes are not in the pieces yet
        for number, begin, inside, after in fields(self._payload, start, end):
            self._left -= 1
            if self._left < 0:
                raise UnusualError
            way = ways.get(number)
            if way is None or inside is None:
                continue
            name = path + way.name
            if any(data.startswith(name) for data in self.apart) and (way is DATA or way.containing_oneof):
                raise UnusualError  # which one holds is for protobuf to say
            if way.message_type is not None:
                within = self.split(way.message_type, inside, after, f"{name}.")
                pieces += (self._payload[kept:begin], length_delimited(way.number, sum(map(len, within))), *within)
            elif after - inside >= LARGE:
                self.apart[name] = self._payload[inside:after]
                pieces.append(self._payload[kept:begin])
            else:
                continue
            kept = after
        pieces.append(self._payload[kept:end])
        return pieces
