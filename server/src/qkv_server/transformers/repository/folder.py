"""What lies in the folder of a repository: which models, and whether their files have changed."""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from qkv_server.transformers import gguf_parts

Fingerprint = tuple[tuple[str, int, int, int], ...]  # of each file: path, inode, size, time of change
NAMES = "letters, digits, '.', '_' and '-', the first no '.'"  # of models
_NAME = re.compile(r"[\w-][\w.-]*")
_DEPTH = 2  # folders of models have folders: 1_Pooling, onnx


@dataclass(frozen=True, slots=True)
class Contents:
    """The models of a folder by name, and what would be models if their names were names."""

    models: dict[str, Path]
    misnamed: frozenset[str]


def is_name(name: str) -> bool:
    """Whether a model may be called that; no name that is not in UTF-8 is one."""
    return _NAME.fullmatch(name) is not None


def scan(folder: Path) -> Contents:
    """What lies in a folder: each subfolder or .gguf file, or link to one, is a model; hidden ones are left out.

    A file's name is that without .gguf, if no folder has it; the parts of a file are one model. Raises OSError.
    """
    found: dict[str, Path] = {}
    in_parts: set[Path] = set()
    # The functions of os.path answer "no" where a link leads in a circle, or to what may not be looked at.
    for path in sorted(folder.iterdir(), key=lambda path: (os.path.isfile(path), path.name)):
        if path.name.startswith("."):
            continue
        if os.path.isdir(path) or (path.is_symlink() and not os.path.exists(path)):
            found[path.name] = path
        elif gguf_parts.named(path) and gguf_parts.first(path) not in in_parts:
            in_parts.add(gguf_parts.first(path))
            name = gguf_parts.model_name(path)
            found[path.name if name in found else name] = path
    models = {name: path for name, path in found.items() if is_name(name)}
    return Contents(models, frozenset(found.keys() - models.keys()))


def fingerprint(path: Path) -> Fingerprint:
    """What tells that files have changed; empty if there are none."""
    file = gguf_parts.named(path)
    if file is None:
        return tuple(sorted(_files(Path(os.path.realpath(path)), "", _DEPTH)))
    try:
        parts = gguf_parts.present(file)
    except OSError:
        return ()  # it left while we looked
    return tuple(found for part in parts for found in _files(part, part.name, 0))


def _files(path: Path, name: str, depth: int) -> Iterator[tuple[str, int, int, int]]:
    try:
        if path.is_dir():
            if depth:
                for entry in os.scandir(path):
                    yield from _files(Path(entry.path), f"{name}/{entry.name}", depth - 1)
            return
        stat = path.stat()
    except OSError:
        return  # it left while we looked
    yield name, stat.st_ino, stat.st_size, stat.st_mtime_ns
