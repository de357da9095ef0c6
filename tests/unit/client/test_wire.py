"""What is kept apart from a message is in its bytes as protobuf would have it, and is found there again."""

from collections.abc import Iterator

import numpy as np
import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from qkv import codec, fields, wire
from qkv.v1.attention_pb2 import AttentionRequest, DifferentiateRequest, MergeRequest
from qkv.v1.tensor_pb2 import DATA_TYPE_FLOAT32, Matrix, Operand, Tensor
from qkv.wire import ALIGNMENT, Draft, Received, data_of, receive

OPERANDS = (
    "d_output",
    "attention.query",
    "attention.key",
    "attention.visibility.mask",
    "attention.multi_head.query_weight",
)


@pytest.fixture(scope="module", autouse=True)
def everything_is_large() -> Iterator[None]:
    """A byte is enough to be kept apart, so that small examples are whole ones."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(wire, "LARGE", 1)
        yield


def operand_of(message: DifferentiateRequest, path: str) -> Operand:
    for name in path.split("."):
        message = getattr(message, name)
    assert isinstance(message, Operand)
    return message


def whole(received: Received[DifferentiateRequest]) -> DifferentiateRequest:
    """The message with all its data in it, in so far as it belongs to a tensor."""
    for path in OPERANDS:
        data = received.apart.get(data_of(path))
        if data is not None and operand_of(received.message, path).HasField("tensor"):
            operand_of(received.message, path).tensor.data = bytes(data)
    return received.message


def draft_of(paths: list[str], sizes: list[int]) -> Draft[DifferentiateRequest]:
    draft = Draft(DifferentiateRequest())
    for path, size in zip(paths, sizes, strict=True):
        *enclosing, name = path.split(".")
        part = draft
        for each in enclosing:
            part = part.part(each)
        part.put(name, np.arange(size, dtype=np.float32))
    return draft


@st.composite
def drafts(draw: st.DrawFn) -> Draft[DifferentiateRequest]:
    paths = draw(st.lists(st.sampled_from(OPERANDS), unique=True))
    return draft_of(paths, draw(st.lists(st.integers(0, 9000), min_size=len(paths), max_size=len(paths))))


@st.composite
def messages(draw: st.DrawFn) -> DifferentiateRequest:
    """Messages of every form: tensors, matrices, neither, and other fields about them."""
    request = DifferentiateRequest()
    for path in draw(st.lists(st.sampled_from(OPERANDS))):
        operand = operand_of(request, path)
        match draw(st.sampled_from(["tensor", "data", "matrix", "nothing"])):
            case "tensor":
                operand.tensor.CopyFrom(
                    Tensor(data_type=DATA_TYPE_FLOAT32, shape=[3], data=draw(st.binary(max_size=200)))
                )
            case "data":
                operand.tensor.data = draw(st.binary(max_size=200))
            case "matrix":
                operand.matrix.CopyFrom(Matrix(rows=1, columns=2, values=[1.0, 2.0]))
            case "nothing":
                operand.SetInParent()
    request.attention.visibility.key_lengths.extend(draw(st.lists(st.integers(0, 2**40), max_size=3)))
    request.attention.scoring.scale = draw(st.floats(allow_nan=False))
    return request


@given(drafts())
def test_the_bytes_are_those_of_the_whole_message(draft: Draft[DifferentiateRequest]) -> None:
    parsed = DifferentiateRequest.FromString(draft.encode())
    assert parsed == draft.whole()


@given(drafts())
def test_data_comes_back_where_it_lies_and_aligned(draft: Draft[DifferentiateRequest]) -> None:
    payload = draft.encode()
    start = np.frombuffer(payload, np.uint8).ctypes.data
    received = receive(payload, DifferentiateRequest)
    assert received.apart.keys() == (draft.apart or {}).keys() - {
        path for path, data in (draft.apart or {}).items() if not len(data)
    }
    for path, data in received.apart.items():
        assert data == (draft.apart or {})[path]
        assert data.obj is payload
        assert (np.frombuffer(data, np.uint8).ctypes.data - start) % ALIGNMENT == 0
    assert whole(received) == DifferentiateRequest.FromString(payload)


@given(st.lists(messages(), min_size=1, max_size=4))
def test_what_comes_in_several_pieces_is_what_protobuf_makes_of_it(pieces: list[DifferentiateRequest]) -> None:
    payload = b"".join(piece.SerializeToString() for piece in pieces)
    assert whole(receive(payload, DifferentiateRequest)) == DifferentiateRequest.FromString(payload)


@given(messages(), st.data())
def test_spoiled_bytes_are_what_protobuf_makes_of_them(message: DifferentiateRequest, data: st.DataObject) -> None:
    payload = bytearray(message.SerializeToString())
    for place in data.draw(st.lists(st.integers(0, len(payload) - 1), max_size=3)):
        payload[place] = data.draw(st.integers(0, 255))
    spoiled = bytes(payload[: data.draw(st.integers(0, len(payload)))])
    try:
        expected = DifferentiateRequest.FromString(spoiled)
    except DecodeError:
        with pytest.raises(DecodeError):
            receive(spoiled, DifferentiateRequest)
    else:
        assert whole(receive(spoiled, DifferentiateRequest)).SerializeToString() == expected.SerializeToString()


@given(st.binary(max_size=60))
def test_any_bytes_are_what_protobuf_makes_of_them(payload: bytes) -> None:
    try:
        expected = DifferentiateRequest.FromString(payload)
    except DecodeError:
        with pytest.raises(DecodeError):
            receive(payload, DifferentiateRequest)
    else:
        assert whole(receive(payload, DifferentiateRequest)).SerializeToString() == expected.SerializeToString()


def test_a_message_of_very_many_fields_is_left_to_protobuf() -> None:
    """Going over a million small fields in Python would take a second."""
    request = AttentionRequest(query={"tensor": {"data": b"12345678"}})
    assert receive(request.SerializeToString(), AttentionRequest).apart
    payload = request.SerializeToString() + b"\x50\x01" * fields.MOST_FIELDS
    received = receive(payload, AttentionRequest)
    assert not received.apart
    assert received.message.query.tensor.data == b"12345678"


def test_elements_of_a_list_hold_their_data() -> None:
    """They cannot be told apart by a path."""
    request = MergeRequest()
    for _ in range(2):
        Draft(request.parts.add(), apart=None).put("output", np.arange(4.0))
    received = receive(Draft(request).encode(), MergeRequest)
    assert not received.apart
    assert received.message == request


@pytest.mark.parametrize("before", range(9))
def test_an_array_from_data_at_an_odd_place_is_aligned(before: int) -> None:
    array = np.arange(5.0)
    tensor = codec.to_tensor(array)
    data = memoryview(b"x" * before + tensor.data)[before:]
    back = codec.from_operand(Operand(tensor=tensor), "x", data)
    np.testing.assert_array_equal(back, array, strict=True)
    assert back.flags.aligned
    assert not back.flags.writeable
