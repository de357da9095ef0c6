"""Arrays and messages: the one place that knows how numbers lie in bytes.

Little-endian, C order, fixed width, a boolean is one byte (the rules of ONNX's TensorProto.raw_data). Bytes are read as
unsigned integers first, whose order can be changed and which no operation alters.
"""

import math
import sys
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt

from qkv._errors import MalformedOperandError, Violation
from qkv.v1 import tensor_pb2
from qkv.v1.tensor_pb2 import DataType, Matrix, Operand, Tensor

Array = npt.NDArray[Any]
Buffer = bytes | memoryview

DTYPES: dict[DataType, np.dtype[Any]] = {
    tensor_pb2.DATA_TYPE_FLOAT64: np.dtype(np.float64),
    tensor_pb2.DATA_TYPE_FLOAT32: np.dtype(np.float32),
    tensor_pb2.DATA_TYPE_FLOAT16: np.dtype(np.float16),
    tensor_pb2.DATA_TYPE_BFLOAT16: np.dtype(ml_dtypes.bfloat16),
    tensor_pb2.DATA_TYPE_BOOL: np.dtype(np.bool_),
    tensor_pb2.DATA_TYPE_INT64: np.dtype(np.int64),
    tensor_pb2.DATA_TYPE_INT32: np.dtype(np.int32),
    tensor_pb2.DATA_TYPE_INT8: np.dtype(np.int8),
    tensor_pb2.DATA_TYPE_UINT8: np.dtype(np.uint8),
}
DATA_TYPES = {dtype: data_type for data_type, dtype in DTYPES.items()}
WIRE_TYPES = {data_type: np.dtype(f"<u{dtype.itemsize}") for data_type, dtype in DTYPES.items()}
NAMES = ", ".join(dtype.name for dtype in DTYPES.values())

MAX_RANK = 64  # NumPy's own limit
MAX_ELEMENTS = 2**59  # so that no size in bytes overflows 64 bits


def data_type(dtype: np.dtype[Any]) -> DataType:
    """The DataType of a NumPy type; raises TypeError naming the types that can be sent."""
    try:
        return DATA_TYPES[dtype.newbyteorder("=")]
    except KeyError:
        raise TypeError(f"type {dtype.name} cannot be sent, expected one of {NAMES}") from None


def to_tensor(array: npt.ArrayLike) -> Tensor:
    """The message of an array of any shape, memory layout and byte order."""
    tensor = Tensor()
    fill_tensor(tensor, array)
    return tensor


def fill_tensor(tensor: Tensor, array: npt.ArrayLike) -> None:
    """Make an array of an empty message that has its place: a message that is put there later is copied."""
    tensor.data = bytes(describe(tensor, np.asarray(array)))


def describe(tensor: Tensor, array: Array) -> memoryview:
    """Make an array of an empty message but for its data, which is returned: the array's own memory where it can be."""
    tensor.data_type = data_type(array.dtype)
    tensor.shape.extend(array.shape)
    return np.ascontiguousarray(_little_endian(array)).reshape(-1).view(np.uint8).data


def to_matrix(array: npt.ArrayLike) -> Matrix:
    """The message of a rank-2 array, as float64."""
    matrix = Matrix()
    fill_matrix(matrix, array)
    return matrix


def fill_matrix(matrix: Matrix, array: npt.ArrayLike) -> None:
    """Make a rank-2 array, as float64, of an empty message that has its place."""
    array = np.asarray(array, dtype=np.float64)
    if array.ndim != 2:
        raise ValueError(f"rank is {array.ndim}, expected 2 for a matrix")
    matrix.rows, matrix.columns = array.shape
    matrix.values.extend(array.ravel().tolist())


def from_operand(operand: Operand, field: str, data: Buffer | None = None) -> Array:
    """The array of an operand: a read-only view of its bytes where it is a tensor.

    Raises MalformedOperandError with every wrong field, its path begun by `field`.
    """
    violations, array = decode(operand, field, data)
    if violations or array is None:
        raise MalformedOperandError(violations)
    return array


def from_tensor(tensor: Tensor, field: str, data: Buffer | None = None) -> Array:
    """The array of a tensor: a read-only view of its bytes. Data that is given stands for its own.

    Raises MalformedOperandError with every wrong field, its path begun by `field`.
    """
    violations, array = _decode_tensor(tensor, field, data)
    if violations or array is None:
        raise MalformedOperandError(violations)
    return array


def decode(operand: Operand, field: str, data: Buffer | None = None) -> tuple[tuple[Violation, ...], Array | None]:
    """Every wrong field of an operand, and its array. Data that is given stands for that of its tensor.

    When only the elements or their type are wrong, the array is a read-only one of the right shape, so that what else
    is wrong with a request can be found; when the shape is wrong it is None.
    """
    match operand.WhichOneof("source"):
        case "matrix":
            return _decode_matrix(operand.matrix, f"{field}.matrix")
        case "tensor":
            return _decode_tensor(operand.tensor, f"{field}.tensor", data)
        case _:
            return (Violation(field, "has no source, expected a matrix or a tensor"),), None


def _decode_matrix(matrix: Matrix, field: str) -> tuple[tuple[Violation, ...], Array | None]:
    shape = (matrix.rows, matrix.columns)
    wrong = [
        Violation(f"{field}.{name}", f"is {size}, expected at least 0")
        for name, size in zip(("rows", "columns"), shape, strict=True)
        if size < 0
    ]
    if not wrong and _too_many(shape):
        wrong.append(Violation(f"{field}.rows", f"{shape[0]} × {shape[1]} is more elements than can be counted"))
    if wrong:
        return tuple(wrong), None
    expected, got = shape[0] * shape[1], len(matrix.values)
    if got != expected:
        description = f"has {got} elements, expected {expected} for {shape[0]} rows of {shape[1]} columns"
        return (Violation(f"{field}.values", description),), _placeholder(shape, np.dtype(np.float64))
    return (), np.array(matrix.values, dtype=np.float64).reshape(shape)


def _decode_tensor(tensor: Tensor, field: str, data: Buffer | None) -> tuple[tuple[Violation, ...], Array | None]:
    wrong = []
    dtype = DTYPES.get(tensor.data_type)
    if dtype is None:
        given = "needed" if tensor.data_type == 0 else f"is {tensor.data_type}"
        wrong.append(Violation(f"{field}.data_type", f"{given}, expected one of {NAMES}"))
    shape = tuple(tensor.shape)
    if (problem := _shape_problem(shape)) is not None:
        return (*wrong, Violation(f"{field}.shape", problem)), None
    if dtype is None:
        return tuple(wrong), _placeholder(shape, np.dtype(np.float64))
    if data is None:
        data = tensor.data
    expected, got = math.prod(shape) * dtype.itemsize, len(data)
    if got != expected:
        description = f"has {got} bytes, expected {expected} for {dtype.name} {shape}"
        return (Violation(f"{field}.data", description),), _placeholder(shape, dtype)
    raw = np.frombuffer(data, WIRE_TYPES[tensor.data_type])
    if dtype == np.bool_ and raw.size and raw.max() > 1:
        position = int((raw > 1).argmax())
        description = f"byte {position} is {raw[position]}, expected 0 or 1 for bool"
        return (Violation(f"{field}.data", description),), _placeholder(shape, dtype)
    return (), _native(raw).view(dtype).reshape(shape)


def _native(raw: Array) -> Array:
    """The array, or a copy where its elements lie in another order of bytes or not at multiples of their size."""
    if raw.dtype.isnative and raw.flags.aligned:
        return raw
    copy = raw.astype(raw.dtype.newbyteorder("="))
    copy.flags.writeable = False
    return copy


def _shape_problem(shape: tuple[int, ...]) -> str | None:
    if len(shape) > MAX_RANK:
        return f"has {len(shape)} axes, expected at most {MAX_RANK}"
    if shape and min(shape) < 0:
        axis, size = next((axis, size) for axis, size in enumerate(shape) if size < 0)
        return f"axis {axis} is {size}, expected at least 0"
    return f"{shape} is more elements than can be counted" if _too_many(shape) else None


def _too_many(shape: tuple[int, ...]) -> bool:
    """Whether the product of the axes overflows; a zero axis counts as one, since it does not make others smaller."""
    return math.prod(size or 1 for size in shape) > MAX_ELEMENTS


def _placeholder(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """A read-only array of zeros that takes no memory."""
    return np.broadcast_to(np.zeros((), dtype), shape)


def _little_endian(array: Array) -> Array:
    if array.dtype.isnative and sys.byteorder == "little":
        return array
    native = array.astype(array.dtype.newbyteorder("="), copy=False)
    return native.view(f"u{native.dtype.itemsize}").astype(f"<u{native.dtype.itemsize}", copy=False)
