"""Which reader reads a path."""

from collections.abc import Callable
from pathlib import Path

from qkv_server.transformers.errors import ModelFileError
from qkv_server.transformers.files import annalog, gguf_file, hugging_face, marian
from qkv_server.transformers.files.gguf_file import Progress
from qkv_server.transformers.files.model_files import ModelFiles

_FOLDERS: tuple[tuple[Callable[[Path], bool], Callable[[Path], ModelFiles]], ...] = (
    (hugging_face.is_one, hugging_face.read),
    (marian.is_one, marian.read),
    (annalog.is_one, annalog.read),
)

CONTENTS = "one .gguf file, config.json, model.….bin (Marian), or annalog's files"


def read_model(path: Path, progress: Progress = lambda _: None) -> ModelFiles:
    """What the files of a model say: a folder of Hugging Face's, a .gguf file, a folder of Marian's or annalog's.

    `progress` hears of a conversion, which is the only long work: which part of it is done. Raises ModelFileError.
    """
    try:
        return _read(path, progress)
    except OSError as error:
        raise ModelFileError(path, f"cannot be read: {error.strerror}: {error.filename}") from error


def _read(path: Path, progress: Progress) -> ModelFiles:
    for is_one, read in _FOLDERS:
        if is_one(path):
            return read(path)
    if gguf_file.is_one(path):
        return gguf_file.read(path, progress)
    if path.is_symlink() and not path.exists():
        raise ModelFileError(path, f"is a link that leads nowhere: to {path.readlink()}")
    problem = "is no model" if path.exists() else "is missing"
    raise ModelFileError(path, f"{problem}: expected a .gguf file, or a folder with {CONTENTS}")
