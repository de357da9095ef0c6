"""Checkpoints of torch.save, read without torch: the tensors, and nothing else that a pickle may ask for."""

import io
import os
import pickle
import sys
import types
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaged import packaged

from qkv_server.transformers.errors import ModelFileError
from qkv_server.transformers.families.answers import end_ids
from qkv_server.transformers.files import annalog, read_model
from qkv_server.transformers.files.torch_zip import read, unpickle

X = np.arange(12, dtype=np.float32)


class Storage:
    """Numbers of a member of the archive, to be named by a persistent id as torch does."""

    def __init__(self, kind: str, key: str, count: int) -> None:
        self.pid = ("storage", getattr(sys.modules["torch"], kind), key, "cpu", count)


class Tensor:
    """Something that pickles as a tensor of torch does."""

    def __init__(self, storage: object, *sizes: object) -> None:
        self.arguments = (storage, *sizes, False, OrderedDict())

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return sys.modules["torch._utils"]._rebuild_tensor_v2, self.arguments


class Asking:
    """Something that pickles as a call."""

    def __init__(self, function: Callable[..., Any], *arguments: object) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.call


class Pickler(pickle.Pickler):
    """Names storages as torch does."""

    def persistent_id(self, given: Any) -> Any:
        return given.pid if isinstance(given, Storage) else None


@pytest.fixture(autouse=True)
def torch_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a pickle of torch's names; torch itself is not needed to write one."""
    torch, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")

    def _rebuild_tensor_v2() -> None:
        """Named only."""

    _rebuild_tensor_v2.__module__, _rebuild_tensor_v2.__qualname__ = "torch._utils", "_rebuild_tensor_v2"
    utils.__dict__["_rebuild_tensor_v2"] = _rebuild_tensor_v2
    for kind in ("FloatStorage", "HalfStorage", "LongStorage"):
        torch.__dict__[kind] = type(kind, (), {"__module__": "torch"})
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setitem(sys.modules, "torch._utils", utils)


def pickled(named: object) -> bytes:
    stream = io.BytesIO()
    Pickler(stream, protocol=2).dump(named)
    return stream.getvalue()


def archive(folder: Path, named: object, members: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> Path:
    path = folder / "checkpoint.pt"
    with zipfile.ZipFile(path, "w", compression) as written:
        written.writestr("archive/data.pkl", pickled(named))
        for name, data in members.items():
            written.writestr(f"archive/data/{name}", data)
    return path


def tensor(shape: tuple[int, ...] = (3, 4), strides: tuple[int, ...] = (4, 1), offset: int = 0) -> Tensor:
    return Tensor(Storage("FloatStorage", "0", 12), offset, shape, strides)


def test_tensors_are_read_with_their_offsets_and_strides(tmp_path: Path) -> None:
    """Tensors that share a storage, turned, scalar or empty, have the numbers that torch would give them."""
    named = OrderedDict(
        whole=tensor(),
        turned=tensor((4, 3), (1, 4)),
        part=tensor((2, 2), (4, 1), 5),
        scalar=tensor((), (), 7),
        empty=tensor((0, 3), (3, 1)),
        half=Tensor(Storage("HalfStorage", "1", 3), 0, (3,), (1,)),
    )
    half = np.array([0.5, 1, 65504], np.float16)
    read_back = read(archive(tmp_path, named, {"0": X.tobytes(), "1": half.tobytes()}))
    expected = {
        "whole": X.reshape(3, 4),
        "turned": X.reshape(3, 4).T,
        "part": X.reshape(3, 4)[1:, 1:3],
        "scalar": X[7],
        "empty": np.zeros((0, 3)),
        "half": half,
    }
    assert list(read_back) == list(expected)
    for name, array in expected.items():
        assert read_back[name].shape == array.shape
        np.testing.assert_array_equal(read_back[name].read(), array)


def test_a_state_dict_keeps_its_attributes_to_itself(tmp_path: Path) -> None:
    """The versions of modules that torch hangs on a state_dict are passed over."""
    named = OrderedDict(x=tensor())
    named._metadata = OrderedDict()  # type: ignore[attr-defined]
    assert list(read(archive(tmp_path, named, {"0": X.tobytes()}))) == ["x"]


@pytest.mark.parametrize(
    ("asked", "named"),
    [
        (Asking(os.system, "touch {trace}"), r"(posix|nt).system"),
        (Asking(eval, "open({trace!r}, 'w')"), r"(builtins|__builtin__).eval"),
        (Asking(exec, "open({trace!r}, 'w')"), r"(builtins|__builtin__).exec"),
        (Asking(open, "{trace}", "w"), r"(_?io).open"),
        (Asking(getattr, "", "format"), r"(builtins|__builtin__).getattr"),
        (Asking(__import__, "os"), r"(builtins|__builtin__).__import__"),
        (Path("x"), r"pathlib"),
        (np.zeros(1), r"numpy"),
    ],
)
def test_a_pickle_that_asks_for_anything_else_is_refused_and_does_nothing(
    tmp_path: Path, asked: object, named: str
) -> None:
    """Neither at the top nor within a tensor is anything called but the rebuilding of tensors, by name or by value."""
    trace = tmp_path / "trace"
    if isinstance(asked, Asking):
        function, arguments = asked.call
        asked = Asking(function, *(str(one).format(trace=str(trace)) for one in arguments))
    for place in (asked, {"x": asked}, {"x": Tensor(asked, 0, (1,), (1,))}):
        with pytest.raises(ModelFileError, match=rf"^checkpoint.pt: its pickle asks for {named}.*, which is refused"):
            read(archive(tmp_path, place, {"0": X.tobytes()}))
    assert not trace.exists()


@pytest.mark.parametrize(
    ("opcodes", "problem"),
    [
        (b"\x80\x02cos\nsystem\n(X\x04\x00\x00\x00truetR.", "asks for os.system"),
        (b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93\x8c\x011\x85R.", "asks for builtins.eval"),
        (b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\nctorch\nload\n\x85R.", "asks for torch.load"),
        (b"\x80\x02ctorch\nFloatStorage\n)R.", "is broken: TypeError"),
        (b"\x80\x02ccollections\nOrderedDict\n)\x81}b.", None),
        (b"\x80\x02\x82\x01.", "is broken: ValueError"),  # a number of copyreg's registry
        (b"\x80\x02X\xff\xff\xff\x7fabc.", "is broken"),
        (b"", "is broken: EOFError"),
    ],
)
def test_opcodes_written_by_hand_gain_nothing(tmp_path: Path, opcodes: bytes, problem: str | None) -> None:
    """Every opcode that finds or builds an object meets the same list of what may be called."""
    if problem is None:
        assert unpickle(tmp_path / "checkpoint.pt", opcodes) == {}
    else:
        with pytest.raises(ModelFileError, match=f"its pickle {problem}"):
            unpickle(tmp_path / "checkpoint.pt", opcodes)


@given(st.binary(max_size=200))
def test_any_bytes_are_refused_in_words_or_are_plain(opcodes: bytes) -> None:
    """Random opcodes raise ModelFileError, or make plain values."""
    try:
        made = unpickle(Path("checkpoint.pt"), opcodes)
    except ModelFileError:
        return
    assert type(made).__module__ in {"builtins", "qkv_server.transformers.files.torch_zip"}


def test_sizes_beyond_the_storage_are_refused(tmp_path: Path) -> None:
    """No shape, stride or offset lets a tensor see what is not its own."""
    beyond = "a tensor .* beyond its storage of 12 numbers"
    for asked, problem in (
        (tensor((3, 5), (4, 1)), beyond),
        (tensor((3, 4), (5, 1)), beyond),
        (tensor((3, 4), (4, 1), 1), beyond),
        (tensor((3,), (4, 1)), beyond),
        (tensor((3, 4), (-4, 1)), "a tensor with sizes"),
        (tensor((3, 4), (4, 1), -1), "a tensor of no storage"),
        (Tensor("0", 0, (3,), (1,)), "a tensor of no storage"),
    ):
        with pytest.raises(ModelFileError, match=f"its pickle asks for {problem}"):
            read(archive(tmp_path, {"x": asked}, {"0": X.tobytes()}))


def test_members_that_are_missing_short_or_compressed_are_refused(tmp_path: Path) -> None:
    """The numbers of a storage must be in the archive as torch.save leaves them."""
    with pytest.raises(ModelFileError, match="the numbers of 'x' are missing, expected 48 bytes"):
        read(archive(tmp_path, {"x": tensor()}, {}))
    with pytest.raises(ModelFileError, match="the numbers of 'x' are 44 bytes long, expected 48 bytes"):
        read(archive(tmp_path, {"x": tensor()}, {"0": X[1:].tobytes()}))
    with pytest.raises(ModelFileError, match="is compressed"):
        read(archive(tmp_path, {"x": tensor()}, {"0": X.tobytes()}, zipfile.ZIP_DEFLATED))


def test_what_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    """Other files, other archives and other contents are told apart."""
    path = tmp_path / "checkpoint.pt"
    path.write_bytes(b"PK\x03\x04 but no more")
    with pytest.raises(ModelFileError, match=r"is no zip archive of torch.save"):
        read(path)
    with zipfile.ZipFile(path, "w") as other:
        other.writestr("readme", "nothing")
    with pytest.raises(ModelFileError, match=r"is no zip archive of torch.save"):
        read(path)
    with pytest.raises(ModelFileError, match="has something else than tensors by name"):
        read(archive(tmp_path, {"x": tensor(), "epoch": 3}, {"0": X.tobytes()}))


def test_annalog_reads_and_writes_molecules_as_its_authors_do() -> None:
    """The checkpoint has four million numbers, and its tokens are those of the package's own code."""
    files = read_model(packaged("annalog"))
    assert files.config["encoder_layers"] == files.config["decoder_layers"] == 3
    assert (files.config["vocab_size"], files.config["d_model"], files.config["encoder_ffn_dim"]) == (59, 256, 512)
    assert files.weights.take("decoder.fc_out.weight", (59, 256)).std() > 0
    molecule = "Clc1ccccc1Br"
    ids = [2, 20, 4, 8, 4, 4, 4, 4, 4, 8, 30, 3]
    assert files.tokenizer.encode(molecule).ids == ids
    assert files.tokenizer.decode(ids) == molecule
    assert end_ids(files) == {3}


def test_a_vocabulary_that_is_a_program_is_refused(tmp_path: Path) -> None:
    """The vocabulary of annalog is a pickle, too, and meets the same refusal."""
    archive(tmp_path, {"x": tensor()}, {"0": X.tobytes()})
    (tmp_path / "vocab.pkl").write_bytes(pickled({"itos": Asking(os.getcwd)}))
    with pytest.raises(ModelFileError, match=r"^vocab.pkl: its pickle asks for (posix|nt).getcwd, which is refused"):
        annalog.read(tmp_path)
