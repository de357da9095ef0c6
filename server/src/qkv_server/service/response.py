"""From an answer of the core to an AttentionResponse, in the form of the question."""

from dataclasses import fields

import numpy as np

from qkv import codec
from qkv.v1.attention_pb2 import AttentionResponse
from qkv.v1.tensor_pb2 import Operand
from qkv_server.core import Answer
from qkv_server.core.problem import Array

ARRAYS = tuple(field.name for field in fields(Answer) if field.name != "path")


def write(answer: Answer, *, in_matrices: bool) -> AttentionResponse:
    """The response with every array of the answer, as matrices where the question was one and the rank allows it."""
    response = AttentionResponse()
    response.report.path = answer.path.value
    for name in ARRAYS:
        array: Array | None = getattr(answer, name)
        if array is not None:
            getattr(response, name).CopyFrom(_operand(array, in_matrices=in_matrices))
    return response


def _operand(array: Array, *, in_matrices: bool) -> Operand:
    if in_matrices and array.ndim == 1:
        array = array[:, np.newaxis]
    if in_matrices and array.ndim == 2:
        return Operand(matrix=codec.to_matrix(array))
    return Operand(tensor=codec.to_tensor(array))
