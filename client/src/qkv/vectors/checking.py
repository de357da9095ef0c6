"""Vectors put to a server, to see whether it answers as they say."""

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from qkv._client import Client
from qkv._errors import CallError, MalformedOperandError
from qkv.codec import Array
from qkv.v1.tensor_pb2 import DataType
from qkv.vectors.calls import ask, refusal_of
from qkv.vectors.reading import read
from qkv.vectors.vector import Expected, Vector


class Outcome(NamedTuple):
    """What became of a case: passed, or what is wrong."""

    name: str
    wrong: str  # empty: passed


def check(client: Client, folder: Path | str, patterns: Collection[str] = ("*",)) -> Iterator[Outcome]:
    """Put every vector of a folder whose name matches a pattern to a server.

    Raises ValueError for a folder without vectors, ImportError without the package safetensors.
    """
    for vector in read(Path(folder), patterns):
        yield Outcome(vector.name, what_is_wrong(client, vector))


def what_is_wrong(client: Client, vector: Vector) -> str:
    """How the answer of a server differs from a vector; empty if it does not."""
    try:
        answer = ask(client, vector.method, vector.request, vector.timeout)
    except CallError as error:
        got = refusal_of(error)
        if vector.refusal is None:
            return f"{got.code}: {error}"
        return "" if got == vector.refusal else f"failed as {got}, expected {vector.refusal}"
    except MalformedOperandError as error:
        return str(error)
    if vector.refusal is not None:
        return f"was answered, expected {vector.refusal}"
    if answer.keys() != vector.expected.keys():
        return f"the answer has {', '.join(sorted(answer))}, expected {', '.join(sorted(vector.expected))}"
    problems = (
        f"{name}: {problem}"
        for name, (array, data_type) in answer.items()
        if (problem := difference(array, data_type, vector.expected[name]))
    )
    return "; ".join(problems)


def difference(array: Array, data_type: DataType | None, expected: Expected) -> str:
    """How an array, of a tensor of a type or of a matrix, differs from what is expected; empty if it passes."""
    if data_type != expected.data_type:
        return f"is {_form(data_type)}, expected {_form(expected.data_type)}"
    if array.shape != expected.array.shape:
        return f"shape is {array.shape}, expected {expected.array.shape}"
    wide = array.astype(np.float64)
    close = np.isclose(wide, expected.array, rtol=expected.relative, atol=expected.absolute, equal_nan=True)
    if close.all():
        return ""
    place = tuple(int(axis[0]) for axis in np.nonzero(~close))
    return (
        f"{np.count_nonzero(~close)} of {close.size} elements differ; at {place} is {wide[place]}, "
        f"expected {expected.array[place]} ± {expected.absolute + expected.relative * abs(expected.array[place])}"
    )


def _form(data_type: DataType | None) -> str:
    return "a matrix" if data_type is None else f"a tensor of {DataType.Name(data_type)}"
