"""From an answer of the core to messages, in the form of the question."""

from dataclasses import fields
from typing import Any

import numpy as np

from qkv import codec
from qkv.v1.attention_pb2 import AttentionResponse, Report
from qkv.wire import Draft
from qkv_server.core import Answer, Path
from qkv_server.core.problem import Array

ARRAYS = tuple(field.name for field in fields(Answer) if field.name != "path")


def write(answer: Answer, *, in_matrices: bool) -> Draft[AttentionResponse]:
    """The response with every array of the answer, as matrices where the question was one and the rank allows it."""
    response = Draft(AttentionResponse())
    for name in ARRAYS:
        array: Array | None = getattr(answer, name)
        if array is not None:
            fill(response, name, array, in_matrices=in_matrices)
    return response


def fill(response: Draft[Any], name: str, array: Array, *, in_matrices: bool) -> None:
    """Set an operand: to a tensor, or to a matrix if it has rank 2, or 1, which is a matrix of one column."""
    if in_matrices and array.ndim == 1:
        array = array[:, np.newaxis]
    if in_matrices and array.ndim == 2:
        codec.fill_matrix(getattr(response.message, name).matrix, array)
    else:
        response.put(name, array)


def report(path: Path, arrived: float, started: float, finished: float) -> Report:
    """How an answer was made; times are of `time.monotonic`."""
    return Report(path=path.value, queue_seconds=started - arrived, compute_seconds=finished - started)
