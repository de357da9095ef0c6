"""JSON files of models."""

import json
from pathlib import Path, PurePosixPath
from typing import Any

from qkv_server.transformers.errors import ModelFileError


def read_json(path: Path) -> Any:
    """What a JSON file says. Raises ModelFileError."""
    try:
        found = json.loads(path.read_text("utf-8"))
        json.dumps(found, ensure_ascii=False).encode()  # refuses halves of surrogate pairs, which no answer can tell
    except (ValueError, RecursionError) as error:
        raise ModelFileError(path, f"is no JSON: {error}") from None
    except OSError as error:
        raise ModelFileError(path, f"cannot be read: {error.strerror}") from None
    return found


def read_object(path: Path) -> dict[str, Any]:
    """The object in a JSON file. Raises ModelFileError."""
    found = read_json(path)
    if not isinstance(found, dict):
        raise ModelFileError(path, f"is a JSON {type(found).__name__}, expected an object")
    return found


def read_object_if_there(path: Path) -> dict[str, Any]:
    """The object in a JSON file; empty if there is no such file. Raises ModelFileError."""
    return read_object(path) if path.exists() else {}


def named_path(file: Path, name: str) -> Path:
    """The path that a file names, from its own folder on. Raises ModelFileError for one that leads out of that."""
    named = PurePosixPath(name)
    if named.is_absolute() or ".." in named.parts:
        raise ModelFileError(file, f"names {name!r}, expected a path within its own folder")
    return file.parent / named
