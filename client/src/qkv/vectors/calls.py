"""Messages that are sent as they are, and their answers: what the calls of the client are for arrays."""

from typing import Any

import grpc
from google.protobuf.message import Message

from qkv import codec
from qkv._calls import Call
from qkv._client import Client
from qkv._errors import CallError, InvalidRequestError
from qkv._status import call_error
from qkv.v1.tensor_pb2 import DataType
from qkv.vectors.operands import operands
from qkv.vectors.vector import KINDS, Refusal
from qkv.wire import Draft, Received, data_of


def ask(
    client: Client, method: str, request: Message, timeout: float | None = None
) -> dict[str, tuple[codec.Array, DataType | None]]:
    """The arrays of the answer by their fields, each with the type of its tensor, None for a matrix.

    The timeout is the client's unless one is given.
    Raises the errors under CallError, and MalformedOperandError.
    """
    call: Call[Any] = Call(KINDS[method].method, Draft(request), _arrays, timeout)
    try:
        response: Received[Message] = client._send(call)
    except grpc.RpcError as error:
        raise call_error(error.code(), error.details() or "", error.trailing_metadata()) from None
    return _arrays(response)


def refusal_of(error: CallError) -> Refusal:
    """What a vector says of a call that failed."""
    violations = error.violations if isinstance(error, InvalidRequestError) else ()
    return Refusal(error.code.name, error.reason, tuple(sorted({violation.field for violation in violations})))


def _arrays(response: Received[Message]) -> dict[str, tuple[codec.Array, DataType | None]]:
    return {
        name: (
            codec.from_operand(operand, name, response.apart.get(data_of(name))),
            operand.tensor.data_type if operand.HasField("tensor") else None,
        )
        for name, operand in operands(response.message)
    }
