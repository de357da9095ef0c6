"""The elements of tensors: raw, beside their message, or typed, in it.

Raw contents are left where they lie in the bytes of a request, and are joined to the bytes of a response, so that each
is copied once (decision 10; the fields here repeat, which `qkv.wire` leaves alone).
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from google.protobuf.message import DecodeError

from qkv import Violation, codec
from qkv.fields import MOST_FIELDS, UnusualError, fields, length_delimited
from qkv.third_party.open_inference_pb2 import InferTensorContents, ModelInferRequest, ModelInferResponse
from qkv.v1 import tensor_pb2
from qkv.v1.tensor_pb2 import DataType
from qkv.wire import Draft, Received
from qkv_server.service.errors import InvalidRequestError

Array = npt.NDArray[Any]

DATATYPES: dict[str, DataType] = {
    "FP64": tensor_pb2.DATA_TYPE_FLOAT64,
    "FP32": tensor_pb2.DATA_TYPE_FLOAT32,
    "FP16": tensor_pb2.DATA_TYPE_FLOAT16,
    "BF16": tensor_pb2.DATA_TYPE_BFLOAT16,
    "BOOL": tensor_pb2.DATA_TYPE_BOOL,
    "INT64": tensor_pb2.DATA_TYPE_INT64,
    "INT32": tensor_pb2.DATA_TYPE_INT32,
    "INT8": tensor_pb2.DATA_TYPE_INT8,
    "UINT8": tensor_pb2.DATA_TYPE_UINT8,
}
NAMES = {data_type: name for name, data_type in DATATYPES.items()}

# The field of InferTensorContents for each type that has one.
TYPED = {
    "FP64": "fp64_contents",
    "FP32": "fp32_contents",
    "BOOL": "bool_contents",
    "INT64": "int64_contents",
    "INT32": "int_contents",
    "INT8": "int_contents",
    "UINT8": "uint_contents",
}

RAW_INPUT = ModelInferRequest.RAW_INPUT_CONTENTS_FIELD_NUMBER
RAW_OUTPUT = ModelInferResponse.RAW_OUTPUT_CONTENTS_FIELD_NUMBER
LONGEST_HEADER = 6  # bytes of a tag and a size that protobuf surely reads: 1, for the fields here, and 5


def receive(payload: bytes) -> Received[ModelInferRequest]:
    """The request that some bytes are; `apart` holds its raw contents in their order, the message may too.

    Raises InvalidRequestError for bytes that are none.
    """
    try:
        rest, raw = _split(payload)
        message = ModelInferRequest.FromString(rest)
        if message.raw_input_contents or raw is None:  # written in a way that is for protobuf to read
            message = ModelInferRequest.FromString(payload)
            raw = [memoryview(contents) for contents in message.raw_input_contents]
    except DecodeError:
        name = f"inference.{ModelInferRequest.DESCRIPTOR.name}"
        raise InvalidRequestError([Violation("request", f"these {len(payload)} bytes are no {name} message")]) from None
    return Received(message, {str(place): contents for place, contents in enumerate(raw)})


def _split(payload: bytes) -> tuple[bytes, list[memoryview] | None]:
    """An encoded request without its raw contents, and these; all of it, and None, where it is not the usual one."""
    whole = memoryview(payload)
    pieces: list[memoryview] = []
    raw: list[memoryview] = []
    try:
        for number, begin, inside, end in fields(whole, 0, len(whole)):
            if inside is None or inside - begin > LONGEST_HEADER or len(pieces) + len(raw) == MOST_FIELDS:
                return payload, None
            if number == RAW_INPUT:
                raw.append(whole[inside:end])
            else:
                pieces.append(whole[begin:end])
    except UnusualError:
        return payload, None
    return b"".join(pieces), raw


def encode(draft: Draft[ModelInferResponse]) -> list[bytes | memoryview]:
    """The pieces of the bytes of a response; what is apart is its raw contents, in their order."""
    pieces: list[bytes | memoryview] = [draft.message.SerializeToString()]
    for contents in (draft.apart or {}).values():
        pieces += (length_delimited(RAW_OUTPUT, len(contents)), contents)
    return pieces


def read_typed(contents: InferTensorContents, datatype: str) -> memoryview:
    """The bytes of typed contents; raises ValueError saying what is wrong with them."""
    if datatype not in TYPED:
        raise ValueError(f"{datatype} has no typed contents, expected raw_input_contents")
    field = TYPED[datatype]
    strange = [other.name for other, _ in contents.ListFields() if other.name != field]
    if strange:
        raise ValueError(f"{', '.join(strange)} given, expected {field} for {datatype}")
    values = getattr(contents, field)
    data_type = DATATYPES[datatype]
    dtype = codec.DTYPES[data_type]
    try:
        array = np.fromiter(values, dtype, len(values))
    except OverflowError:
        bounds = np.iinfo(dtype)
        place, value = next((place, v) for place, v in enumerate(values) if not bounds.min <= v <= bounds.max)
        limits = f"{bounds.min} to {bounds.max} for {datatype}"
        raise ValueError(f"element {place} is {value}, expected {limits}") from None
    return codec.describe(tensor_pb2.Tensor(), array)


def fill_typed(contents: InferTensorContents, datatype: str, array: Array) -> None:
    """Put an array into typed contents."""
    getattr(contents, TYPED[datatype]).extend(array.ravel().tolist())
