"""Raw contents that are left where they lie are those that protobuf would have copied."""

import numpy as np
import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from qkv import codec
from qkv.third_party.open_inference_pb2 import InferTensorContents, ModelInferRequest, ModelInferResponse
from qkv.wire import Draft
from qkv_server.service.errors import InvalidRequestError
from qkv_server.transport.oip.contents import DATATYPES, TYPED, encode, fill_typed, read_typed, receive


@st.composite
def requests(draw: st.DrawFn) -> ModelInferRequest:
    request = ModelInferRequest(
        model_name=draw(st.text(max_size=4)),
        id=draw(st.text(max_size=4)),
        raw_input_contents=draw(st.lists(st.binary(max_size=300), max_size=4)),
    )
    for name in draw(st.lists(st.text(max_size=4), max_size=3)):
        tensor = request.inputs.add(name=name, datatype="FP32", shape=draw(st.lists(st.integers(-1, 5), max_size=4)))
        tensor.contents.fp32_contents.extend(draw(st.lists(st.floats(width=32), max_size=3)))
        request.parameters[name].int64_param = draw(st.integers(-(2**63), 2**63 - 1))
    return request


def assert_received(payload: bytes, expected: ModelInferRequest) -> None:
    received = receive(payload)
    assert [bytes(contents) for contents in received.apart.values()] == list(expected.raw_input_contents)
    rest, expected_rest = ModelInferRequest(), ModelInferRequest()
    rest.CopyFrom(received.message)
    expected_rest.CopyFrom(expected)
    for message in (rest, expected_rest):
        message.ClearField("raw_input_contents")
    assert rest.SerializeToString(deterministic=True) == expected_rest.SerializeToString(deterministic=True)


@given(requests())
def test_a_request_is_what_protobuf_reads(request: ModelInferRequest) -> None:
    """What is apart and what is in the message are together the request, whatever is in it."""
    assert_received(request.SerializeToString(), request)


@given(requests(), st.data())
def test_spoiled_bytes_are_what_protobuf_reads(request: ModelInferRequest, data: st.DataObject) -> None:
    """Bytes that were cut, changed or added to are read as protobuf reads them, or refused where it refuses them."""
    payload = bytearray(request.SerializeToString())
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(payload)))
        payload[place : place + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=12))
    try:
        expected = ModelInferRequest.FromString(bytes(payload))
    except DecodeError:
        with pytest.raises(InvalidRequestError, match=r"bytes are no inference\.ModelInferRequest message"):
            receive(bytes(payload))
    else:
        assert_received(bytes(payload), expected)


UNUSUAL = {
    "a tag that is longer than it needs to be": b"\xba\x00\x01a",
    "a size that is longer than it needs to be": b"\x3a\x81\x80\x80\x80\x00a",
    "a size of six bytes": b"\x3a\x81\x80\x80\x80\x80\x00a",
    "fields of other wire types": b"\x3a\x01a\x78\x05\x7d\x00\x00\x00\x00\x79\x00\x00\x00\x00\x00\x00\x00\x00",
    "a number where contents should be": b"\x38\x07\x3a\x01a",
    "thousands of contents": b"\x3a\x01a" * 3000,
    "field number 0": b"\x02\x00",
    "nothing": b"",
}


@pytest.mark.parametrize("payload", UNUSUAL.values(), ids=UNUSUAL.keys())
def test_unusual_bytes_are_what_protobuf_reads(payload: bytes) -> None:
    """Encodings that no usual writer makes mean what protobuf says that they mean, if anything."""
    try:
        expected = ModelInferRequest.FromString(payload)
    except DecodeError:
        with pytest.raises(InvalidRequestError):
            receive(payload)
    else:
        assert_received(payload, expected)


def test_raw_contents_are_not_copied() -> None:
    """What is apart is the memory of the request itself."""
    payload = ModelInferRequest(model_name="m", raw_input_contents=[b"abcd", bytes(100)]).SerializeToString()
    for contents in receive(payload).apart.values():
        assert contents.obj is payload


@given(st.lists(st.binary(max_size=300), max_size=4), st.text(max_size=4))
def test_a_response_is_what_protobuf_reads(raw: list[bytes], name: str) -> None:
    """The pieces of a response are one, with what was apart as its raw contents, in their order."""
    draft = Draft(ModelInferResponse(id=name), {str(place): memoryview(data) for place, data in enumerate(raw)})
    response = ModelInferResponse.FromString(b"".join(encode(draft)))
    assert (response.id, list(response.raw_output_contents)) == (name, raw)


@pytest.mark.parametrize("datatype", TYPED)
def test_typed_contents_hold_every_value(datatype: str) -> None:
    """An array that goes into typed contents comes out of them as its bytes; the extremes of its type are in it."""
    dtype = codec.DTYPES[DATATYPES[datatype]]
    array = {
        "b": lambda: np.array([True, False]),
        "f": lambda: np.array([np.finfo(dtype).max, np.finfo(dtype).tiny, -0.0, np.inf, np.nan], dtype),
    }.get(dtype.kind, lambda: np.array([np.iinfo(dtype).min, 0, np.iinfo(dtype).max], dtype))()
    contents = InferTensorContents()
    fill_typed(contents, datatype, array)
    assert bytes(read_typed(contents, datatype)) == array.tobytes()


@pytest.mark.parametrize(
    ("datatype", "contents", "said"),
    [
        ("FP16", InferTensorContents(fp32_contents=[1]), "FP16 has no typed contents, expected raw_input_contents"),
        ("FP32", InferTensorContents(fp64_contents=[1]), "fp64_contents given, expected fp32_contents for FP32"),
        ("INT8", InferTensorContents(int_contents=[0, 128]), "element 1 is 128, expected -128 to 127 for INT8"),
        ("UINT8", InferTensorContents(uint_contents=[256]), "element 0 is 256, expected 0 to 255 for UINT8"),
    ],
)
def test_typed_contents_that_do_not_fit_are_refused(datatype: str, contents: InferTensorContents, said: str) -> None:
    """The message says which field was expected, or which element is beyond the type."""
    with pytest.raises(ValueError, match=f"^{said}$"):
        read_typed(contents, datatype)
