"""Files of safetensors: mapped, and read as the library of that name reads them."""

import json
import mmap
import struct
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import safetensors
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st

from qkv_server.transformers.errors import ModelFileError
from qkv_server.transformers.files import Weights
from qkv_server.transformers.files.safetensors import read, read_entries, write

MEBIBYTE = 2**20
X = np.arange(12, dtype=np.float32).reshape(3, 4)
ARRAYS: dict[str, np.ndarray[Any, Any]] = {
    "float32": X,
    "float64": X.astype(np.float64) / 3,
    "float16": (X / 3).astype(np.float16),
    "int64": np.arange(-2, 3, dtype=np.int64),
    "int32": np.arange(-2, 3, dtype=np.int32),
    "int16": np.arange(-2, 3, dtype=np.int16),
    "int8": np.arange(-2, 3, dtype=np.int8),
    "uint8": np.arange(5, dtype=np.uint8),
    "bool": np.array([True, False, True]),
    "scalar": np.array(7, np.float32),
    "empty": np.zeros((0, 3), np.float32),
}


def file_of(folder: Path, header: object, data: bytes = b"", length: int | None = None) -> Path:
    """A file with a header that may say anything."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path = folder / "model.safetensors"
    path.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + data)
    return path


def tensor(shape: object = (2,), begin: int = 0, end: int = 8, dtype: object = "F32") -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def test_tensors_are_those_that_the_library_wrote(tmp_path: Path) -> None:
    """Every type and shape that safetensors writes is read with the same bits."""
    path = tmp_path / "model.safetensors"
    safetensors.numpy.save_file(ARRAYS, path, {"format": "np"})
    read_back = read(path)
    assert read_back.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        assert read_back[name].shape == array.shape
        assert read_back[name].dtype == array.dtype
        np.testing.assert_array_equal(read_back[name].read(), array)


def test_bfloat16_is_widened_without_loss(tmp_path: Path) -> None:
    """A bfloat16 tensor becomes the float32 numbers that its bits mean."""
    narrow = (X / 3).astype(ml_dtypes.bfloat16)
    path = file_of(tmp_path, {"x": tensor([3, 4], 0, 24, "BF16")}, narrow.tobytes())
    widened = Weights(path, read(path)).take("x", (3, 4))
    assert widened.dtype == np.float32
    np.testing.assert_array_equal(widened.view(np.uint32) >> 16, narrow.view(np.uint16))
    assert not (widened.view(np.uint32) & 0xFFFF).any()


def test_float32_is_mapped_and_never_copied(tmp_path: Path) -> None:
    """Whoever takes a tensor sees the same read-only memory of the file."""
    path = tmp_path / "model.safetensors"
    safetensors.numpy.save_file({"x": X}, path)
    weights = Weights(path, read(path))
    taken = weights.take("x", (3, 4))
    assert np.shares_memory(taken, weights["x"])
    assert not taken.flags.writeable
    assert not taken.flags.owndata


def test_a_view_that_is_not_aligned_is_copied(tmp_path: Path) -> None:
    """Numbers that lie between the places of float32 are taken as an aligned copy."""
    header = json.dumps({"x": tensor([2], 0, 8)}).encode()
    path = file_of(tmp_path, header + b" " * (1 - len(header) % 4 + 4), X[0, :2].tobytes())
    weights = Weights(path, read(path))
    assert not weights["x"].flags.aligned
    assert weights.take("x", (2,)).flags.aligned
    np.testing.assert_array_equal(weights.take("x", (2,)), X[0, :2])


def test_what_we_write_the_library_reads(tmp_path: Path) -> None:
    """A file of ours has for safetensors the tensors that were written."""
    path = tmp_path / "model.safetensors"
    arrays = {"x": X, "y": X.T, "none": np.zeros((0, 2), np.float32), "one": np.array(1, np.float32)}
    write(path, {name: array.shape for name, array in arrays.items()}, arrays.values())
    read_back = safetensors.numpy.load_file(path)
    assert read_back.keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(read_back[name], array)


def test_a_tensor_that_is_missing_or_of_another_shape_is_named(tmp_path: Path) -> None:
    """The error tells the file, the tensor, what was found and what was expected."""
    path = tmp_path / "model.safetensors"
    safetensors.numpy.save_file({"x": X, "counts": ARRAYS["int64"]}, path)
    weights = Weights(path, read(path))
    with pytest.raises(ModelFileError, match=r"model.safetensors: has no tensor 'y', expected one of shape \(3, 4\)"):
        weights.take("y", (3, 4))
    with pytest.raises(ModelFileError, match=r"model.safetensors: tensor 'x' has shape \(3, 4\), expected \(4, 3\)"):
        weights.take("x", (4, 3))
    with pytest.raises(ModelFileError, match="tensor 'counts' is int64, expected floating point"):
        weights.take("counts", (5,))


def test_a_file_is_refused_at_every_length_that_is_too_short(tmp_path: Path) -> None:
    """Wherever a file is cut off, the error says that it is truncated or broken."""
    whole = tmp_path / "whole.safetensors"
    safetensors.numpy.save_file({"x": X, "y": X[0]}, whole)
    content = whole.read_bytes()
    for length in range(len(content)):
        path = tmp_path / "cut.safetensors"
        path.write_bytes(content[:length])
        with pytest.raises(ModelFileError, match=r"^cut.safetensors: .*(too short|truncated)"):
            read_entries(path)


@pytest.mark.parametrize(
    ("header", "data", "problem"),
    [
        ({"x": tensor(), "y": tensor((2,), 4, 12)}, 12, "tensor 'x' and tensor 'y' overlap"),
        ({"x": tensor(), "y": tensor((2,), 12, 20)}, 20, "tensor 'x' and tensor 'y' have a gap between them"),
        ({"x": tensor((2,), 4, 12)}, 12, "the header and tensor 'x' have a gap"),
        ({"x": tensor()}, 12, "has 4 bytes after tensor 'x'"),
        ({"x": tensor((3,))}, 8, r"tensor 'x' has 8 bytes, expected 12 for F32 \(3,\)"),
        ({"x": tensor((2**40, 2**40), 0, 8)}, 8, "tensor 'x' has 8 bytes, expected 48357032"),
        ({"x": tensor((2,), 0, 2**70)}, 8, "tensor 'x' lies at bytes 0 to"),
        ({"x": tensor((2,), 8, 0)}, 8, "tensor 'x' lies at bytes 8 to 0"),
        ({"x": tensor((-2,))}, 8, r"tensor 'x' has shape \[-2\], expected a list of sizes"),
        ({"x": tensor((True, 2))}, 8, "tensor 'x' has shape"),
        ({"x": tensor((2.0,))}, 8, "tensor 'x' has shape"),
        ({"x": tensor("2")}, 8, "tensor 'x' has shape"),
        ({"x": tensor(dtype="F33")}, 8, "tensor 'x' has dtype 'F33', expected one of F64, F32"),
        ({"x": tensor(dtype=["F32"])}, 8, "tensor 'x' has dtype"),
        ({"x": {"dtype": "F32"}}, 8, "tensor 'x' is described without"),
        ({"x": 1}, 8, "tensor 'x' is described without"),
        ([], 0, "its header is a JSON list, expected an object"),
        (b'{"x": ', 0, "its header is no JSON"),
        (b"\xff\xfe{}", 0, "its header is no JSON"),
        (b"[" * 100_000, 0, "its header is no JSON"),
        (b'{"x": {"dtype": "F32"}, "x": {"dtype": "F32"}}', 0, "its header is no JSON: a name comes twice"),
    ],
)
def test_a_broken_header_is_refused(tmp_path: Path, header: object, data: int, problem: str) -> None:
    """Each thing that a header can get wrong has a message that names the tensor."""
    with pytest.raises(ModelFileError, match=f"^model.safetensors: .*{problem}"):
        read_entries(file_of(tmp_path, header, bytes(data)))


def test_a_header_longer_than_the_file_is_not_read(tmp_path: Path) -> None:
    """A length of 2^63 asks for no memory."""
    with pytest.raises(ModelFileError, match="a header of 9223372036854775808 bytes in a file of 10"):
        read_entries(file_of(tmp_path, {}, length=2**63))


@given(
    changes=st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), max_size=4),
    cut=st.integers(0, 10_000),
    tail=st.binary(max_size=8),
)
def test_what_is_read_of_a_changed_file_is_what_the_library_reads(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[int, int]], cut: int, tail: bytes
) -> None:
    """Of a file with any bytes changed we say that it is broken, or we and safetensors read the same tensors."""
    content = bytearray(safetensors.numpy.save({"x": X, "y": X[0].astype(np.float16)}))
    for position, byte in changes:
        content[position % len(content)] = byte
    if cut < len(content):
        del content[cut:]
    content += tail
    path = tmp_path_factory.getbasetemp() / "changed.safetensors"
    path.write_bytes(content)
    try:
        ours = {name: one.read() for name, one in read(path).items()}
    except ModelFileError:
        return
    try:
        theirs = dict(safetensors.deserialize(bytes(content)))  # type: ignore[no-untyped-call]
    except safetensors.SafetensorError:
        return  # what it refuses beyond us, as metadata that are no strings, reads nothing beyond bounds
    assert ours.keys() == theirs.keys()
    for name, array in ours.items():
        assert list(array.shape) == theirs[name]["shape"]
        assert array.tobytes() == bytes(theirs[name]["data"])


def test_pages_that_were_read_can_be_let_go(tmp_path: Path) -> None:
    """Mapped files do not stay in the memory of the process, and views of them still answer what the files say."""
    path, big = tmp_path / "model.safetensors", np.ones(8 * MEBIBYTE, np.float32)
    write(path, {"big": big.shape}, [big])
    weights = Weights(path, read(path))
    view = weights["big"]
    before = resident_file_bytes()
    np.testing.assert_array_equal(view, big)
    assert resident_file_bytes() - before > 31 * MEBIBYTE
    weights.let_pages_go()
    assert resident_file_bytes() - before < MEBIBYTE
    np.testing.assert_array_equal(view, big)


def resident_file_bytes() -> int:
    """How much of mapped files is in the memory of this process."""
    return int(Path("/proc/self/statm").read_text("ascii").split()[2]) * mmap.PAGESIZE
