"""The files of a GGUF model: one, or the parts that llama.cpp's gguf-split made of it.

Parts are called PREFIX-00001-of-00003.gguf and so on (`llama_split_path` in llama.h); the first has all metadata.
"""

import os
import re
from pathlib import Path

_SUFFIX = ".gguf"
_PART = re.compile(r"(.+)-(\d{5})-of-((?!00000)\d{5})\.gguf")


def named(path: Path) -> Path | None:
    """The path under which a file ends in .gguf: this one, or one that it is a link to; None if there is none."""
    if not os.path.isfile(path):  # Path's own raises where a link leads to what may not be looked at
        return None
    while path.suffix != _SUFFIX and path.is_symlink():
        path = path.parent / path.readlink()
    return path if path.suffix == _SUFFIX else None


def first(path: Path) -> Path:
    """The first part of the model of which a .gguf file is one, whether it is there or not: one for all its parts."""
    match = _PART.fullmatch(path.name)
    return path.with_name(f"{match[1]}-00001-of-{match[3]}.gguf") if match else path


def present(path: Path) -> list[Path]:
    """The parts that are there of the model of which a .gguf file is one, in order. Raises OSError.

    That is found in the folder: names may speak of any number of parts.
    """
    if _PART.fullmatch(path.name) is None:
        return [path]
    model = first(path)
    return sorted(other for other in path.parent.iterdir() if first(other) == model and os.path.isfile(other))


def parts(path: Path) -> list[Path]:
    """All parts of the model of which a .gguf file is one, in order, whether they are there or not."""
    match = _PART.fullmatch(path.name)
    if match is None:
        return [path]
    prefix, _, last = match.groups()
    return [path.with_name(f"{prefix}-{number:05}-of-{last}.gguf") for number in range(1, int(last) + 1)]


def model_name(path: Path) -> str:
    """What the model of a file is called: without what tells that it is a .gguf file, or a part."""
    match = _PART.fullmatch(path.name)
    return match[1] if match else path.name.removesuffix(_SUFFIX)
