"""Vectors from a folder, as `writing` leaves them there."""

import json
from collections.abc import Collection, Iterator, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, cast

from google.protobuf.json_format import ParseDict

from qkv import codec
from qkv.codec import Array
from qkv.v1.tensor_pb2 import DataType
from qkv.vectors import tensor_files
from qkv.vectors.operands import operand_at
from qkv.vectors.vector import FORMAT, KINDS, MANIFEST, TIMEOUT, Expected, Refusal, Vector


def read(folder: Path, patterns: Collection[str] = ("*",)) -> Iterator[Vector]:
    """The vectors whose names match a pattern, in the order of the manifest.

    Raises ValueError for a folder without vectors, or with vectors of another format.
    """
    try:
        content = json.loads((folder / MANIFEST).read_text("utf-8"))
        form = content["format"]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{folder}: has no {MANIFEST} of test vectors ({error})") from error
    if form != FORMAT:
        raise ValueError(f"{folder}: has test vectors of format {form}, expected {FORMAT}")
    return (
        _vector(folder, entry)
        for entry in content["cases"]
        if any(fnmatchcase(entry["name"], pattern) for pattern in patterns)
    )


def _vector(folder: Path, entry: Mapping[str, Any]) -> Vector:
    arrays = tensor_files.load(folder / entry["file"]) if "file" in entry else {}
    request = ParseDict(entry["request"], KINDS[entry["method"]].request())
    for path, name in entry.get("inputs", {}).items():
        codec.fill_tensor(operand_at(request, path).tensor, arrays[name])
    expected = {name: _expected(array, arrays) for name, array in entry.get("expected", {}).items()}
    error = entry.get("error")
    refusal = Refusal(error["code"], error.get("reason", ""), tuple(error["fields"])) if error else None
    return Vector(
        entry["name"], entry["method"], request, expected, refusal, float(entry.get("timeout_seconds", TIMEOUT))
    )


def _expected(entry: Mapping[str, Any], arrays: Mapping[str, Array]) -> Expected:
    data_type: DataType | None = None if entry.get("matrix") else cast("DataType", DataType.Value(entry["dataType"]))
    array = arrays[entry["tensor"]].reshape(entry["shape"])
    return Expected(array, data_type, entry["absolute"], entry["relative"])
