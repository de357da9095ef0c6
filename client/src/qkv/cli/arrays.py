"""Arrays from the command line and from files, and back into files."""

import json
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from qkv.vectors import tensor_files

Array = npt.NDArray[Any]

SOURCES = (
    "an array is typed, '[[1, 2], [3, 4]]' or '1 2; 3 4', or read from FILE.npy, FILE.npz, FILE.safetensors, FILE.json "
    "or FILE.csv; FILE:NAME takes one of several arrays"
)
OF_ONE = (".npy", ".csv")  # files that hold one array, without its name
OF_SEVERAL = (".npz", ".safetensors", ".json")  # files that hold arrays by name
SUFFIXES = (*OF_ONE, *OF_SEVERAL)


def read(source: str, option: str) -> Array:
    """The array that an option's text names or types; raises ValueError naming the option."""
    path, _, name = source.rpartition(":") if _is_file(source.rpartition(":")[0]) else (source, "", "")
    try:
        return _from_file(Path(path), name, option) if _is_file(path) else _typed(source)
    except ImportError:
        raise
    except OSError as error:
        raise ValueError(f"--{option}: {path}: {error.strerror or error}") from error
    except Exception as error:  # numpy, zipfile, json and safetensors each have their own
        raise ValueError(f"--{option}: {source}: {error}") from error


def check_writable(file: Path, names: Collection[str]) -> None:
    """Raise ValueError if arrays of these names cannot be saved in a file of this name."""
    suffixes = OF_SEVERAL if len(names) > 1 else SUFFIXES
    if file.suffix not in suffixes:
        expected = f"expected a name ending in one of {', '.join(suffixes)}, for {', '.join(names)}"
        raise ValueError(f"--save: {file}: {expected}")


def write(file: Path, arrays: Mapping[str, Array]) -> None:
    """Save arrays by name; raises ValueError for a file that cannot be written, or cannot hold one of them."""
    try:
        _to_file(file, arrays)
    except ImportError:
        raise
    except OSError as error:
        raise ValueError(f"--save: {file}: {error.strerror or error}") from error
    except Exception as error:  # safetensors has its own
        raise ValueError(f"--save: {file}: {error}") from error


def _is_file(text: str) -> bool:
    return text.endswith(SUFFIXES)


def _to_file(file: Path, arrays: Mapping[str, Array]) -> None:
    if file.suffix in (".npy", ".npz") and any(array.dtype.name == "bfloat16" for array in arrays.values()):
        raise ValueError("NumPy's files lose the type bfloat16, expected .safetensors or .json")
    match file.suffix:
        case ".npy":
            np.save(file, next(iter(arrays.values())))
        case ".csv":
            ((name, array),) = arrays.items()
            if array.ndim > 2:
                raise ValueError(f"holds rows of numbers, and {name} has the shape {array.shape}")
            np.savetxt(file, array, fmt="%s", delimiter=",")  # in as many digits as tell a number from its neighbours
        case ".npz":
            named: dict[str, Any] = dict(arrays)
            np.savez(file, **named)
        case ".json":
            content = {name: array.tolist() for name, array in arrays.items()}
            file.write_text(json.dumps(content) + "\n", encoding="utf-8")
        case _:
            tensor_files.save(file, arrays)


def _typed(text: str) -> Array:
    """'[[1, 2], [3, 4]]', 'true', or rows parted by semicolons, '1 2; 3 4'."""
    text = text.strip()
    try:
        if text.startswith(("[", "{")) or text in ("true", "false"):
            return _numbers(json.loads(text))
        return _rows(text.split(";"))
    except (ValueError, TypeError) as error:
        raise ValueError(f"is no array ({error}); {SOURCES}") from error


def _rows(rows: Iterable[str]) -> Array:
    return np.array([[float(number) for number in row.replace(",", " ").split()] for row in rows])


def _from_file(file: Path, name: str, option: str) -> Array:
    match file.suffix:
        case ".npy":
            with file.open("rb") as stream:  # NumPy leaves open what it cannot read
                content = np.load(stream, allow_pickle=False)
        case ".npz":
            with file.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
                return np.asarray(_one_of(archive, name, option))
        case ".safetensors":
            return np.asarray(_one_of(tensor_files.load(file), name, option))
        case ".csv":
            content = _rows(file.read_text(encoding="utf-8").splitlines())
            if not content.size:
                raise ValueError("holds no numbers")
        case _:
            content = json.loads(file.read_text(encoding="utf-8"))
            if isinstance(content, dict):
                return _numbers(_one_of(content, name, option))
            content = _numbers(content)
    if name:
        raise ValueError("holds one array, without a name")
    return np.asarray(content)


def _one_of(arrays: Mapping[str, Any], name: str, option: str) -> Any:
    """The array of that name, or of the option's, or the only one; answers are saved with _ where options have -."""
    names = list(arrays)
    usual = [own for own in (option, option.replace("-", "_")) if own in names] or (names if len(names) == 1 else [""])
    wanted = name or usual[0]
    if wanted not in names:
        raise ValueError(f"has the arrays {', '.join(names)}; expected FILE:NAME with one of them")
    return arrays[wanted]


def _numbers(content: Any) -> Array:
    """Nested lists as an array: booleans stay, numbers are float64."""
    array = np.asarray(content)
    if array.dtype.kind not in "biuf":
        raise ValueError("expected nested lists of numbers, all rows equally long")
    return array if array.dtype.kind == "b" else array.astype(np.float64)
