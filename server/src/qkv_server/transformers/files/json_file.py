"""JSON files of models."""

import json
from pathlib import Path
from typing import Any

from qkv_server.transformers.errors import ModelFileError


def read_object(path: Path) -> dict[str, Any]:
    """The object in a JSON file. Raises ModelFileError."""
    try:
        found = json.loads(path.read_text("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ModelFileError(path, f"is no JSON: {error}") from None
    except OSError as error:
        raise ModelFileError(path, f"cannot be read: {error.strerror}") from None
    if not isinstance(found, dict):
        raise ModelFileError(path, f"is a JSON {type(found).__name__}, expected an object")
    return found


def read_object_if_there(path: Path) -> dict[str, Any]:
    """The object in a JSON file; empty if there is no such file. Raises ModelFileError."""
    return read_object(path) if path.exists() else {}
