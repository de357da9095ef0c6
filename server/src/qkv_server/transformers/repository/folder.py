"""What lies in the folder of a repository: which models, and whether their files have changed."""

import os
from collections.abc import Iterator
from pathlib import Path

from qkv_server.transformers import gguf_parts

Fingerprint = tuple[tuple[str, int, int, int], ...]  # of each file: path, inode, size, time of change
_DEPTH = 2  # folders of models have folders: 1_Pooling, onnx


def scan(folder: Path) -> dict[str, Path]:
    """The models of a folder by name: each a subfolder or a .gguf file, or a link to one; hidden ones are left out.

    A file's name is that without .gguf, if no folder has it; the parts of a file are one model. Raises OSError.
    """
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir(), key=lambda path: (path.is_file(), path.name)):
        if path.name.startswith("."):
            continue
        if path.is_dir() or (path.is_symlink() and not path.exists()):
            found[path.name] = path
        elif gguf_parts.named(path) and path == next(filter(Path.exists, gguf_parts.parts(path)), None):
            name = gguf_parts.model_name(path)
            found[path.name if name in found else name] = path
    return found


def fingerprint(path: Path) -> Fingerprint:
    """What tells that files have changed; empty if there are none."""
    file = gguf_parts.named(path)
    if file is None:
        return tuple(sorted(_files(path.resolve(), "", _DEPTH)))
    return tuple(found for part in gguf_parts.parts(file) for found in _files(part, part.name, 0))


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
