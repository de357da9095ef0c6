"""Vectors into a folder: manifest.json, and a safetensors file for each that has arrays.

docs/vectors.md has the format.
"""

import itertools
import json
from collections.abc import Iterable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message

from qkv import codec
from qkv.codec import Array
from qkv.v1.tensor_pb2 import DataType
from qkv.vectors import tensor_files
from qkv.vectors.cases import GROUPS
from qkv.vectors.operands import field_at, operands
from qkv.vectors.vector import FORMAT, MANIFEST, SEMANTICS_VERSION, TIMEOUT, Expected, Refusal, Vector


def prepare(folder: Path, *, force: bool = False) -> None:
    """Make the folder a suite without cases, whatever suite it held.

    Raises ValueError if it holds anything else, but for `force`: that stays there.
    """
    tensor_files.package()
    if _is_suite(folder):
        for file in itertools.chain.from_iterable((folder / group).glob("*.safetensors") for group in GROUPS):
            file.unlink()
    elif not force and folder.is_dir() and any(folder.iterdir()):
        raise ValueError(f"{folder}: holds something else than vectors, expected a new or empty folder, or --force")
    folder.mkdir(parents=True, exist_ok=True)
    _write_manifest(folder, [], seed=0)


def write(folder: Path, vectors: Iterable[Vector], *, seed: int) -> Iterator[Vector]:
    """Write vectors one by one, each handed on when it is in its file; the manifest comes last."""
    cases = []
    for vector in vectors:
        cases.append(_write(folder, vector))
        yield vector
    _write_manifest(folder, cases, seed=seed)


def _write_manifest(folder: Path, cases: list[dict[str, Any]], *, seed: int) -> None:
    content = {
        "format": FORMAT,
        "semantics_version": SEMANTICS_VERSION,
        "seed": seed,
        "generator": f"qkv {version('qkv')}",
        "cases": cases,
    }
    (folder / MANIFEST).write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _write(folder: Path, vector: Vector) -> dict[str, Any]:
    """The entry of a vector in the manifest; its arrays are written."""
    request, tensors = _parted(vector.request)
    arrays = {f"input.{path}": array for path, array in tensors.items()}
    arrays |= {f"expected.{name}": expected.array for name, expected in vector.expected.items()}
    entry: dict[str, Any] = {"name": vector.name, "method": vector.method, "request": MessageToDict(request)}
    if arrays:
        entry["file"] = f"{vector.name}.safetensors"
        file = folder / entry["file"]
        file.parent.mkdir(exist_ok=True)
        tensor_files.save(file, arrays)
    entry["inputs"] = {path: f"input.{path}" for path in tensors}
    if vector.refusal is None:
        entry["expected"] = {name: _answer(name, expected) for name, expected in vector.expected.items()}
    else:
        entry["error"] = _error(vector.refusal)
    if vector.timeout != TIMEOUT:
        entry["timeout_seconds"] = vector.timeout
    return entry


def _parted(request: Message) -> tuple[Message, dict[str, Array]]:
    """A request without its tensors, and those by their paths. One whose bytes are no array stays in the request."""
    bare = type(request)()
    bare.CopyFrom(request)
    tensors = {}
    for path, operand in operands(request):
        wrong, array = codec.decode(operand, path)
        if operand.HasField("tensor") and array is not None and not wrong:
            tensors[path] = array
            enclosing, name = field_at(bare, path)
            enclosing.ClearField(name)
    return bare, tensors


def _error(refusal: Refusal) -> dict[str, Any]:
    reason = {"reason": refusal.reason} if refusal.reason else {}
    return {"code": refusal.code, **reason, "fields": list(refusal.fields)}


def _answer(name: str, expected: Expected) -> dict[str, Any]:
    of_type = {"matrix": True} if expected.data_type is None else {"dataType": DataType.Name(expected.data_type)}
    return {
        "tensor": f"expected.{name}",
        **of_type,
        "shape": list(expected.array.shape),
        "absolute": expected.absolute,
        "relative": expected.relative,
    }


def _is_suite(folder: Path) -> bool:
    try:
        content = json.loads((folder / MANIFEST).read_text("utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and {"format", "cases"} <= content.keys()
