"""Malformed requests, each made from a valid one by one mutation, with the fields that the server must name.

Letters as in the contract. `base()` has every operand of the products, at rank 3: B 2, L 3, S 4, P 2, Hq 4, Hkv 2, D 2,
Dv 3. `matrices()` has all that can be a matrix, at rank 2 and one head: L 3, S 4, P 2, D 4, Dv 3.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np

from qkv import codec
from qkv.v1.attention_pb2 import AttentionRequest
from qkv.v1.tensor_pb2 import DataType, Operand, Tensor

Mutation = Callable[[AttentionRequest], None]
Start = Callable[[], AttentionRequest]

SHAPES: dict[str, tuple[int, ...]] = {
    "query": (2, 3, 5),
    "key": (2, 4, 6),
    "value": (2, 4, 7),
    "past_key": (2, 2, 2, 2),
    "past_value": (2, 2, 2, 3),
    "visibility.mask": (3, 6),
    "multi_head.query_weight": (8, 5),
    "multi_head.key_weight": (4, 6),
    "multi_head.value_weight": (6, 7),
    "multi_head.output_weight": (5, 12),
    "multi_head.query_bias": (8,),
    "multi_head.key_bias": (4,),
    "multi_head.value_bias": (6,),
    "multi_head.output_bias": (5,),
    "multi_head.extra_key": (4,),
    "multi_head.extra_value": (6,),
}
MATRIX_SHAPES: dict[str, tuple[int, int]] = {
    "query": (3, 4),
    "key": (4, 4),
    "value": (4, 3),
    "past_key": (2, 4),
    "past_value": (2, 3),
    "visibility.mask": (3, 6),
    "multi_head.query_weight": (4, 4),
    "multi_head.key_weight": (4, 4),
    "multi_head.value_weight": (3, 3),
    "multi_head.output_weight": (5, 3),
}
WRONG_SHAPES: dict[str, tuple[tuple[int, ...], str]] = {  # and the field to blame: the one that has to give way
    "query": ((2, 3, 6), "multi_head.query_weight"),
    "key": ((3, 4, 6), "key"),
    "value": ((2, 5, 7), "value"),
    "past_key": ((2, 3, 2, 2), "past_key"),
    "past_value": ((2, 2, 2, 4), "past_value"),
    "visibility.mask": ((2, 6), "visibility.mask"),
    "multi_head.query_weight": ((8, 4), "multi_head.query_weight"),
    "multi_head.key_weight": ((4, 5), "multi_head.key_weight"),
    "multi_head.value_weight": ((6, 6), "multi_head.value_weight"),
    "multi_head.output_weight": ((5, 11), "multi_head.output_weight"),
    "multi_head.query_bias": ((7,), "multi_head.query_bias"),
    "multi_head.key_bias": ((5,), "multi_head.key_bias"),
    "multi_head.value_bias": ((1,), "multi_head.value_bias"),
    "multi_head.output_bias": ((4,), "multi_head.output_bias"),
    "multi_head.extra_key": ((6,), "multi_head.extra_key"),
    "multi_head.extra_value": ((1, 2, 3), "multi_head.extra_value"),
}


@dataclass(frozen=True)
class Malformed:
    """A request that has no answer, and the fields that its violations must name, in any order."""

    name: str
    request: AttentionRequest
    fields: tuple[str, ...]


def base() -> AttentionRequest:
    """A valid request with every operand of the products, as float64 tensors."""
    request = AttentionRequest()
    for path, shape in SHAPES.items():
        operand(request, path).tensor.CopyFrom(codec.to_tensor(np.linspace(-1, 1, np.prod(shape)).reshape(shape)))
    request.multi_head.heads, request.multi_head.kv_heads = 4, 2
    return request


def matrices() -> AttentionRequest:
    """A valid request with every operand that can be a matrix, as matrices."""
    request = AttentionRequest()
    for path, shape in MATRIX_SHAPES.items():
        operand(request, path).matrix.CopyFrom(codec.to_matrix(np.linspace(-1, 1, np.prod(shape)).reshape(shape)))
    return request


def operand(request: AttentionRequest, path: str) -> Operand:
    """The operand at a path, as `multi_head.query_weight`, made if it is not there."""
    message: object = request
    for name in path.split("."):
        message = getattr(message, name)
    assert isinstance(message, Operand)
    message.SetInParent()
    return message


def mutated(name: str, start: AttentionRequest, mutate: Mutation, *fields: str) -> Malformed:
    """The malformed request that one change makes of a valid one."""
    mutate(start)
    return Malformed(name, start, fields)


def operand_table() -> Iterator[Malformed]:
    """Every operand that takes floating numbers, at rank 3, in every way an operand can be wrong."""
    for path, shape in SHAPES.items():
        wrong_types = ("int32", "uint8") if path == "visibility.mask" else ("int32", "uint8", "bool")
        yield from tensor_mutations(path, shape, base, wrong_types=wrong_types)
        wrong_shape, blamed = WRONG_SHAPES[path]
        change = _set_tensor(np.zeros(wrong_shape))
        yield mutated(f"{path}-wrong shape", base(), _on(path, change), blamed)
        yield from matrix_mutations(path, MATRIX_SHAPES.get(path, (4, 3)), matrices if path in MATRIX_SHAPES else base)


def tensor_mutations(
    path: str, shape: tuple[int, ...], start: Start, *, dtype: str = "float64", wrong_types: Sequence[str]
) -> Iterator[Malformed]:
    """A valid request whose operand at a path has a shape and type, with it a tensor that is wrong in every way."""
    for what, change, part in _tensor_changes(shape, dtype):
        yield mutated(f"{path}-{what}", start(), _on(path, change), f"{path}{part}")
    for wrong in wrong_types:
        yield mutated(f"{path}-{wrong}", start(), _on(path, _set_tensor(np.zeros(shape, wrong))), path)


def matrix_mutations(path: str, shape: tuple[int, int], start: Start) -> Iterator[Malformed]:
    """A valid request, with its operand at a path a matrix of about that shape that is wrong in every way."""
    for what, rows, columns, values, part in MATRIX_CHANGES:
        change = _matrix_change(shape, rows, columns, values)
        yield mutated(f"{path}-{what}", start(), _on(path, change), f"{path}.matrix.{part}")


MATRIX_CHANGES = (  # what, rows and columns (None: the right ones), values more or less, the field to blame
    ("matrix with negative rows", -1, None, 0, "rows"),
    ("matrix with negative columns", None, -(2**63), 0, "columns"),
    ("matrix with too few values", None, None, -1, "values"),
    ("matrix with too many values", None, None, 1, "values"),
    ("matrix without its values", None, None, -(10**6), "values"),
    ("matrix with 2⁸⁰ elements", 2**40, 2**40, 0, "rows"),
    ("matrix with 2⁶² rows and no column", 2**62, 0, 0, "rows"),
)


def _tensor_changes(shape: tuple[int, ...], dtype: str) -> Iterator[tuple[str, Callable[[Operand], None], str]]:
    """What is changed, how, and where below the operand's path the violation stands."""
    yield "no source", lambda it: it.Clear(), ""
    yield "data type unknown", lambda it: _edit(it.tensor, data_type=99), ".tensor.data_type"
    yield "data type negative", lambda it: _edit(it.tensor, data_type=-1), ".tensor.data_type"
    yield "data type unset", lambda it: _edit(it.tensor, data_type=0), ".tensor.data_type"
    yield "negative axis", lambda it: _edit(it.tensor, shape=(*shape[:-1], -shape[-1])), ".tensor.shape"
    yield "shape that overflows", lambda it: _edit(it.tensor, shape=(2**32, 2**32)), ".tensor.shape"
    yield "shape that overflows beside a zero", lambda it: _edit(it.tensor, shape=(0, 2**62)), ".tensor.shape"
    yield "65 axes", lambda it: _edit(it.tensor, shape=(*shape, *[1] * (65 - len(shape)))), ".tensor.shape"
    yield "data a byte short", lambda it: _edit(it.tensor, data=it.tensor.data[:-1]), ".tensor.data"
    yield "data a byte long", lambda it: _edit(it.tensor, data=it.tensor.data + b"\0"), ".tensor.data"
    yield "data missing", lambda it: it.tensor.ClearField("data"), ".tensor.data"
    yield "data of a narrower type", _set_tensor(np.zeros(shape, np.float32), data_type=1), ".tensor.data"
    yield "boolean byte of 2", _set_tensor(np.full(shape, 2, np.uint8), data_type=5), ".tensor.data"
    yield "rank 5", _set_tensor(np.zeros((1,) * (5 - len(shape)) + shape, dtype)), ""
    yield "rank 0", _set_tensor(np.zeros((), dtype)), ""


def _edit(tensor: Tensor, *, data_type: int | None = None, shape: tuple[int, ...] = (), data: bytes = b"") -> None:
    """Change the given parts of a tensor."""
    if data_type is not None:
        tensor.data_type = cast("DataType", data_type)  # also a number that the enum does not have
    if shape:
        tensor.ClearField("shape")
        tensor.shape.extend(shape)
    if data:
        tensor.data = data


def _set_tensor(
    array: "np.ndarray[tuple[int, ...], np.dtype[np.generic]]", data_type: int | None = None
) -> Callable[[Operand], None]:
    def change(it: Operand) -> None:
        it.tensor.CopyFrom(codec.to_tensor(array))
        _edit(it.tensor, data_type=data_type)

    return change


def _matrix_change(
    shape: tuple[int, int], rows: int | None, columns: int | None, more: int
) -> Callable[[Operand], None]:
    def change(it: Operand) -> None:
        values = np.zeros(max(shape[0] * shape[1] + more, 0))
        it.matrix.Clear()
        it.matrix.rows = shape[0] if rows is None else rows
        it.matrix.columns = shape[1] if columns is None else columns
        it.matrix.values.extend(values)

    return change


def _on(path: str, change: Callable[[Operand], None]) -> Mutation:
    return lambda request: change(operand(request, path))
