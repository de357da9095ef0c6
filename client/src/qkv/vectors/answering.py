"""From cases to vectors: the server is asked in float64; tolerances say how far other types may be from that."""

import numpy as np
from google.protobuf.message import Message

from qkv import codec
from qkv._client import Client
from qkv._errors import CallError, InvalidRequestError, TooLargeError
from qkv.v1 import tensor_pb2
from qkv.v1.attention_pb2 import AttentionRequest, DifferentiateRequest, MergeRequest
from qkv.v1.tensor_pb2 import DataType
from qkv.vectors.calls import ask, refusal_of
from qkv.vectors.cases import Case
from qkv.vectors.operands import operand_at, operands
from qkv.vectors.sizes import Sizes
from qkv.vectors.tolerances import BY_TYPE, tolerances
from qkv.vectors.vector import Expected, Vector

GRADIENTS = {  # the operand of each
    "d_query": "attention.query",
    "d_key": "attention.key",
    "d_value": "attention.value",
    "d_mask": "attention.visibility.mask",
    "d_sinks": "attention.scoring.sinks",
}


def vector_of(client: Client, case: Case, sizes: Sizes, seed: int) -> Vector:
    """The vector of a case; raises ValueError if the server does not answer, or not fail, as it must.

    Raises the errors under CallError when it cannot be asked.
    """
    method, request = case.request(sizes, seed)
    try:
        if case.refusal:
            answer = ask(client, method, request, case.timeout)
        else:
            answer = ask(client, method, in_float64(request))
    except CallError as error:
        if case.refusal and refusal_of(error) == case.refusal:
            return Vector(case.name, method, request, refusal=case.refusal, timeout=case.timeout)
        if case.refusal or isinstance(error, InvalidRequestError | TooLargeError):
            raise ValueError(f"{case.name}: this server says {error.code.name} {error}") from error
        raise
    if case.refusal:
        raise ValueError(f"{case.name}: this server answers, expected {case.refusal.code}")
    expected = {
        name: _expected(request, name, np.asarray(array), in_matrix=data_type is None)
        for name, (array, data_type) in answer.items()
    }
    return Vector(case.name, method, request, expected, timeout=case.timeout)


def in_float64(request: Message) -> Message:
    """The request with every floating tensor and the softmax in float64, which changes no number."""
    wide = type(request)()
    wide.CopyFrom(request)
    for path, operand in operands(wide):
        if operand.tensor.data_type in BY_TYPE:
            operand.tensor.CopyFrom(codec.to_tensor(codec.from_operand(operand, path).astype(np.float64)))
    call = _attention(wide)
    if call is not None and call.scoring.softmax_precision:
        call.scoring.softmax_precision = tensor_pb2.DATA_TYPE_FLOAT64
    return wide


def _attention(request: Message) -> AttentionRequest | None:
    """The attention call of a request, if it has one."""
    match request:
        case AttentionRequest():
            return request
        case DifferentiateRequest():
            return request.attention
        case _:
            return None


def _expected(request: Message, name: str, array: codec.Array, *, in_matrix: bool) -> Expected:
    """What is expected of the array in a field of the answer."""
    of_answer = _type_of_answer(request, name)
    call = _attention(request)
    compute = _widest(request)
    softmax = _softmax_type(call) if call is not None else compute
    absolute, relative = tolerances(array, of_answer, compute, softmax)
    return Expected(array, None if in_matrix else of_answer, absolute, relative)


def _type_of_answer(request: Message, name: str) -> DataType:
    """The type that the contract gives an array of the answer."""
    match request:
        case AttentionRequest():
            return _softmax_type(request) if name == "log_sum_exp" else _type_of(request.query)
        case DifferentiateRequest():
            return _type_of(operand_at(request, GRADIENTS[name]))
        case MergeRequest():
            return _type_of(operand_at(request, f"parts.0.{name}"))
    raise TypeError(f"{request.DESCRIPTOR.name} is no request of a vector")


def _softmax_type(call: AttentionRequest) -> DataType:
    return call.scoring.softmax_precision or _widest(call)


def _widest(request: Message) -> DataType:
    """The type that products are computed in: float64 if an operand has it, else float32."""
    wide = any(_type_of(operand) == tensor_pb2.DATA_TYPE_FLOAT64 for _, operand in operands(request))
    return tensor_pb2.DATA_TYPE_FLOAT64 if wide else tensor_pb2.DATA_TYPE_FLOAT32


def _type_of(operand: tensor_pb2.Operand) -> DataType:
    return tensor_pb2.DATA_TYPE_FLOAT64 if operand.HasField("matrix") else operand.tensor.data_type
