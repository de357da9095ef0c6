"""The codec on whatever arrays and messages hypothesis can think of; ONNX is the independent source of byte rules."""

import math
import tracemalloc
from typing import Any, Literal

import hypothesis.extra.numpy as hnp
import ml_dtypes
import numpy as np
import numpy.typing as npt
import onnx
import pytest
from google.protobuf.message import DecodeError, Message
from hypothesis import given, settings
from hypothesis import strategies as st

from qkv import MalformedOperandError, Violation, codec
from qkv.v1.attention_pb2 import AttentionRequest
from qkv.v1.tensor_pb2 import Matrix, Operand, Tensor

Array = npt.NDArray[Any]
DType = np.dtype[Any]

DTYPES = tuple(codec.DTYPES.values())
INT64 = 2**63

SHAPES = hnp.array_shapes(min_dims=0, max_dims=5, min_side=0, max_side=4)


def array_of(bits: Array, dtype: DType, order: Literal["<", ">"]) -> Array:
    """The array of a type and byte order whose elements have these bits, given as unsigned integers of its width."""
    laid = np.array(bits, dtype=f"{order}u{dtype.itemsize}", order="C")
    return laid.view(dtype if dtype.itemsize == 1 else dtype.newbyteorder(order))


def bits_of(array: Array) -> Array:
    """The bits of a native array, as unsigned integers: what makes NaN equal to itself and −0.0 differ from 0.0."""
    return np.ascontiguousarray(array).view(f"u{array.dtype.itemsize}").reshape(array.shape)


@st.composite
def bit_patterns(draw: st.DrawFn, dtype: DType, shapes: st.SearchStrategy[tuple[int, ...]] = SHAPES) -> Array:
    """Bits of any elements of a type: for floating types every NaN, infinity, denormal and zero among them."""
    unsigned = np.dtype(f"u{dtype.itemsize}")
    if dtype == np.bool_:
        return draw(hnp.arrays(unsigned, shapes, elements=st.integers(0, 1)))
    sign = 1 << (8 * dtype.itemsize - 1)
    edges = [0, 1, sign, sign + 1, 2 * sign - 1, sign - 1]
    if dtype.name in ("float64", "float32", "float16", "bfloat16"):
        infinity = int(bits_of(np.array(np.inf, dtype=dtype))[()])
        edges += [infinity, infinity + 1, infinity + sign, infinity + sign + 1, infinity - 1]
    return draw(hnp.arrays(unsigned, shapes, elements=st.sampled_from(edges) | st.integers(0, 2 * sign - 1)))


@st.composite
def memory_layouts(draw: st.DrawFn, rank: int) -> "tuple[tuple[int, ...], tuple[slice, ...], int]":
    """An order of axes, a slice of each (strides up to 3 and negative ones), and a length to broadcast to (0: none)."""
    axes = tuple(draw(st.permutations(range(rank))))
    steps = st.sampled_from((1, 1, 2, 3, -1, -2))
    return axes, tuple(slice(None, None, draw(steps)) for _ in range(rank)), draw(st.sampled_from((0, 0, 1, 3)))


def laid_out(array: Array, layout: "tuple[tuple[int, ...], tuple[slice, ...], int]") -> Array:
    """A view of the array in that layout."""
    axes, slices, copies = layout
    view: Array = array.transpose(axes)[slices]
    return np.broadcast_to(view, (copies, *view.shape)) if copies else view


def over_the_wire(tensor: Tensor) -> Array:
    """The array of a tensor that was serialized and parsed."""
    return codec.from_operand(Operand.FromString(Operand(tensor=tensor).SerializeToString()), "x")


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.name)
@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_arrays_come_back_bit_by_bit(dtype: DType, data: st.DataObject) -> None:
    """An array of any shape, memory layout and byte order comes back with its type, its shape and every bit."""
    bits = data.draw(bit_patterns(dtype))
    layout = data.draw(memory_layouts(bits.ndim))
    array = laid_out(array_of(bits, dtype, data.draw(st.sampled_from("<>"))), layout)
    back = over_the_wire(codec.to_tensor(array))
    assert back.dtype == dtype
    assert back.dtype.isnative
    np.testing.assert_array_equal(bits_of(back), laid_out(bits, layout), strict=True)


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.name)
@settings(max_examples=50, deadline=None)
@given(data=st.data())
def test_bytes_are_those_of_onnx(dtype: DType, data: st.DataObject) -> None:
    """A tensor's bytes are onnx.TensorProto's raw_data of the same array, whatever its layout."""
    bits = data.draw(bit_patterns(dtype))
    array = laid_out(array_of(bits, dtype, "<"), data.draw(memory_layouts(bits.ndim)))
    expected = onnx.numpy_helper.from_array(np.array(array, order="C"))
    tensor = codec.to_tensor(array)
    assert tensor.data == expected.raw_data
    assert list(tensor.shape) == list(expected.dims)


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.name)
def test_onnx_reads_the_bytes(dtype: DType) -> None:
    """ONNX reads the array from a tensor's bytes, and the codec from ONNX's."""
    array = np.arange(6).reshape(2, 3).astype(dtype)
    tensor = codec.to_tensor(array)
    kind = onnx.helper.np_dtype_to_tensor_dtype(dtype)
    read = onnx.numpy_helper.to_array(onnx.TensorProto(data_type=kind, dims=tensor.shape, raw_data=tensor.data))
    np.testing.assert_array_equal(read, array, strict=True)
    theirs = Tensor(data_type=tensor.data_type, shape=(2, 3), data=onnx.numpy_helper.from_array(array).raw_data)
    np.testing.assert_array_equal(over_the_wire(theirs), array, strict=True)


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.name)
def test_the_highest_rank_comes_back(dtype: DType) -> None:
    """An array with as many axes as NumPy allows comes back."""
    array = np.arange(3).astype(dtype).reshape(*[1] * (codec.MAX_RANK - 1), 3)
    np.testing.assert_array_equal(over_the_wire(codec.to_tensor(array)), array, strict=True)


def test_decoded_tensors_are_read_only() -> None:
    """What is decoded is a view of the message's bytes, and cannot be written to by accident."""
    back = over_the_wire(codec.to_tensor(np.zeros(4)))
    assert not back.flags.owndata
    with pytest.raises(ValueError, match="read-only"):
        back[0] = 1


@pytest.mark.parametrize(
    "dtype",
    ["c16", "c8", "i2", "u2", "u4", "u8", "O", "U3", "M8[s]", "g", "i4,f4", ml_dtypes.float8_e4m3fn, ml_dtypes.int4],
    ids=str,
)
def test_other_types_are_refused_by_name(dtype: Any) -> None:
    """A type that the contract does not have is refused with its name and all nine that it has."""
    array = np.zeros(2, dtype=dtype)
    with pytest.raises(TypeError) as refused:
        codec.to_tensor(array)
    assert array.dtype.name in str(refused.value)
    listed = str(refused.value).rpartition("expected one of ")[2].split(", ")
    assert listed == ["float64", "float32", "float16", "bfloat16", "bool", "int64", "int32", "int8", "uint8"]


@settings(max_examples=100, deadline=None)
@given(bits=bit_patterns(np.dtype(np.float64), hnp.array_shapes(min_dims=2, max_dims=2, min_side=0, max_side=5)))
def test_matrices_come_back_bit_by_bit(bits: Array) -> None:
    """A matrix comes back with its shape, empty axes too, and every bit."""
    array = bits.view(np.float64)
    sent = Operand(matrix=codec.to_matrix(array))
    back = codec.from_operand(Operand.FromString(sent.SerializeToString()), "x")
    assert back.dtype == np.float64
    np.testing.assert_array_equal(bits_of(back), bits, strict=True)


@given(shape=hnp.array_shapes(min_dims=0, max_dims=4, max_side=2).filter(lambda shape: len(shape) != 2))
def test_a_matrix_has_rank_2(shape: tuple[int, ...]) -> None:
    """An array of another rank is refused as a matrix, with its rank."""
    with pytest.raises(ValueError, match=f"rank is {len(shape)}, expected 2"):
        codec.to_matrix(np.zeros(shape))


def assert_safely_decoded(operand: Operand) -> None:
    """Require an array of exactly the bytes sent or violations under the prefix, and no memory beyond the message's."""
    tracemalloc.start()
    try:
        violations, array = codec.decode(operand, "given.name")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 200_000 + 20 * operand.ByteSize()
    fields = [violation.field for violation in violations]
    assert len(set(fields)) == len(fields)
    kind = operand.WhichOneof("source")
    for violation in violations:
        assert violation.field == "given.name" if kind is None else violation.field.startswith(f"given.name.{kind}.")
        assert violation.description
    if array is not None:
        sizes = operand.tensor.shape if kind == "tensor" else (operand.matrix.rows, operand.matrix.columns)
        assert array.shape == tuple(sizes)
    if violations:
        with pytest.raises(MalformedOperandError) as refused:
            codec.from_operand(operand, "given.name")
        assert refused.value.violations == violations
    else:
        assert array is not None
        sent = len(operand.tensor.data) if kind == "tensor" else 8 * len(operand.matrix.values)
        assert array.nbytes == sent


SIZES = (
    st.integers(0, 4) | st.sampled_from((-1, 2**31, 2**32, 2**59, INT64 - 1, -INT64)) | st.integers(-INT64, INT64 - 1)
)
KINDS = st.integers(0, 10) | st.integers(-(2**31), 2**31 - 1)
ANY_SHAPE = st.lists(SIZES, max_size=5) | st.lists(st.integers(0, 2), min_size=60, max_size=70)


@st.composite
def fitting_tensors(draw: st.DrawFn) -> Tensor:
    """Tensors whose data is about as long as their type and shape say."""
    kind = draw(st.sampled_from(sorted(codec.DTYPES)))
    shape = draw(SHAPES)
    size = math.prod(shape) * codec.DTYPES[kind].itemsize + draw(st.sampled_from((0, 0, 0, 1, -1)))
    data = draw(st.binary(min_size=max(size, 0), max_size=max(size, 0)) | st.just(bytes(max(size, 0))))
    return Tensor(data_type=kind, shape=shape, data=data)


TENSORS = st.builds(Tensor, data_type=KINDS, shape=ANY_SHAPE, data=st.binary(max_size=40)) | fitting_tensors()
MATRICES = st.builds(Matrix, rows=SIZES, columns=SIZES, values=st.lists(st.floats(), max_size=16))
OPERANDS = st.builds(lambda tensor: Operand(tensor=tensor), TENSORS) | st.builds(
    lambda matrix: Operand(matrix=matrix), MATRICES
)


@settings(max_examples=800, deadline=None)
@given(operand=OPERANDS)
def test_any_operand_is_decoded_or_refused(operand: Operand) -> None:
    """Whatever an operand says, its bytes make exactly its array or every wrong field is named under its prefix."""
    assert_safely_decoded(operand)


def test_an_operand_without_a_source_is_refused() -> None:
    """An empty operand is refused under the prefix itself."""
    assert_safely_decoded(Operand())
    violation = Violation("q", "has no source, expected a matrix or a tensor")
    assert codec.decode(Operand(), "q") == ((violation,), None)


@settings(max_examples=400, deadline=None)
@given(data=st.data())
def test_any_bytes_that_parse_as_an_operand_are_decoded_or_refused(data: st.DataObject) -> None:
    """Bytes of any origin that protobuf takes for an operand are decoded or refused, and nothing else happens."""
    operand = data.draw(parsed(Operand, OPERANDS))
    assert_safely_decoded(operand)


@settings(max_examples=400, deadline=None)
@given(data=st.data())
def test_any_bytes_that_parse_as_a_request_are_decoded_or_refused(data: st.DataObject) -> None:
    """The operands of a request made of any bytes that protobuf takes for one are decoded or refused."""
    requests = st.builds(AttentionRequest, query=OPERANDS, key=OPERANDS, past_value=OPERANDS)
    request = data.draw(parsed(AttentionRequest, requests))
    for name in ("query", "key", "value", "past_key", "past_value"):
        assert_safely_decoded(getattr(request, name))


@st.composite
def parsed(draw: st.DrawFn, kind: type[Message], valid: st.SearchStrategy[Any]) -> Any:
    """Messages that protobuf parses from noise, or from a valid message with a few bytes changed."""
    payload = bytearray(draw(st.binary(max_size=60) | valid.map(lambda message: message.SerializeToString())))
    for _ in range(draw(st.integers(0, 3)) if payload else 0):
        payload[draw(st.integers(0, len(payload) - 1))] = draw(st.integers(0, 255))
    try:
        return kind.FromString(bytes(payload))
    except DecodeError:
        return kind()
