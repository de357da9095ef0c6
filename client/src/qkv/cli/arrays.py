"""Arrays from the command line and from files, and back into files."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

SOURCES = (
    "an array is typed, '[[1, 2], [3, 4]]' or '1 2; 3 4', or read from FILE.npy, FILE.npz, FILE.safetensors or "
    "FILE.json; FILE:NAME takes one of several arrays"
)
SUFFIXES = (".npy", ".npz", ".safetensors", ".json")


def read(source: str, option: str) -> Array:
    """The array that an option's text names or types; raises ValueError or OSError naming the option."""
    path, _, name = source.rpartition(":") if _is_file(source.rpartition(":")[0]) else (source, "", "")
    try:
        if not _is_file(path):
            return _typed(source)
        return _from_file(Path(path), name, option)
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"--{option}: {error.args[0] if error.args else error}") from error


def write(file: Path, arrays: Mapping[str, Array]) -> None:
    """Save arrays by name; .npy holds the first, the output."""
    match file.suffix:
        case ".npy":
            np.save(file, next(iter(arrays.values())))
        case ".npz":
            np.savez(file, allow_pickle=False, **arrays)
        case ".json":
            file.write_text(json.dumps({name: array.tolist() for name, array in arrays.items()}) + "\n")
        case ".safetensors":
            _safetensors().save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, file)
        case _:
            raise ValueError(f"{file}: expected a name ending in one of {', '.join(SUFFIXES)}")


def _is_file(text: str) -> bool:
    return text.endswith(SUFFIXES)


def _typed(text: str) -> Array:
    """'[[1, 2], [3, 4]]', 'true', or rows parted by semicolons, '1 2; 3 4'."""
    text = text.strip()
    try:
        if text.startswith(("[", "{")) or text in ("true", "false"):
            return _numbers(json.loads(text))
        return np.array([[float(number) for number in row.replace(",", " ").split()] for row in text.split(";")])
    except (ValueError, TypeError) as error:
        raise ValueError(f"{text!r} is no array ({error}); {SOURCES}") from error


def _from_file(file: Path, name: str, option: str) -> Array:
    match file.suffix:
        case ".npy":
            if name:
                raise ValueError(f"{file} holds one array without a name")
            return np.asarray(np.load(file, allow_pickle=False))
        case ".npz":
            with np.load(file, allow_pickle=False) as archive:
                return np.asarray(_one_of(archive, file, name, option))
        case ".safetensors":
            return np.asarray(_one_of(_safetensors().load_file(file), file, name, option))
        case _:
            content = json.loads(file.read_text(encoding="utf-8"))
            return _numbers(_one_of(content, file, name, option) if isinstance(content, dict) else content)


def _one_of(arrays: Mapping[str, Any], file: Path, name: str, option: str) -> Any:
    """The array of that name, or of the option's, or the only one."""
    names = list(arrays)
    wanted = name or (option if option in names else names[0] if len(names) == 1 else "")
    if wanted not in names:
        raise ValueError(f"{file} has {', '.join(names)}; expected {file}:NAME")
    return arrays[wanted]


def _numbers(content: Any) -> Array:
    """Nested lists as an array: booleans stay, numbers are float64."""
    array = np.asarray(content)
    if array.dtype.kind not in "biuf":
        raise ValueError("expected nested lists of numbers, all rows equally long")
    return array if array.dtype.kind == "b" else array.astype(np.float64)


def _safetensors() -> Any:
    try:
        import safetensors.numpy  # noqa: PLC0415 - an optional extra
    except ImportError as error:
        raise ImportError("safetensors files need a package more: pip install 'qkv[safetensors]'") from error
    return safetensors.numpy
