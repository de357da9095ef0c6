"""What a test vector is, in memory: a call, and the answer or the refusal that it must have."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from google.protobuf.message import Message

from qkv._attention import ATTEND
from qkv._calls import Method
from qkv._differentiate import DIFFERENTIATE
from qkv._merge import MERGE
from qkv.codec import Array
from qkv.v1.attention_pb2 import AttentionRequest, DifferentiateRequest, MergeRequest
from qkv.v1.tensor_pb2 import DataType

FORMAT, SEMANTICS_VERSION = 1, 1  # of what is written
MANIFEST = "manifest.json"
TIMEOUT = 30.0  # seconds, the deadline of a call that says no other


class Kind(NamedTuple):
    """A method that vectors call, and the message that asks it."""

    method: Method
    request: type[Message]


KINDS = {
    "Attend": Kind(ATTEND, AttentionRequest),
    "Differentiate": Kind(DIFFERENTIATE, DifferentiateRequest),
    "Merge": Kind(MERGE, MergeRequest),
}


@dataclass(frozen=True, eq=False, slots=True)
class Expected:
    """One array of an answer: a |difference| of at most absolute + relative·|array| passes, element by element."""

    array: Array  # float64, of the shape of the answer
    data_type: DataType | None  # of the answer's tensor; None: it is a matrix
    absolute: float
    relative: float


@dataclass(frozen=True, slots=True)
class Refusal:
    """How a call fails: the name of its gRPC status, and from its details the reason and the sorted wrong fields."""

    code: str
    reason: str = ""  # empty: a status without details
    fields: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False, slots=True)
class Vector:
    """A case of a suite: the whole request, and the arrays of its answer by their fields, or its refusal."""

    name: str
    method: str  # a key of KINDS
    request: Message
    expected: Mapping[str, Expected] = field(default_factory=dict)
    refusal: Refusal | None = None
    timeout: float = TIMEOUT
