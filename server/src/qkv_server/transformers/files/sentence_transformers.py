"""What the modules of a sentence-transformers folder say: pooling, normalization, how much of a text is read."""

from collections.abc import Mapping
from pathlib import Path

from qkv_server.transformers.errors import ModelFileError
from qkv_server.transformers.files.json_file import named_path, read_json, read_object, read_object_if_there
from qkv_server.transformers.files.model_files import PoolingName, SentenceSettings

MODULES = "modules.json"
POOLINGS: Mapping[str, PoolingName] = {"mean_tokens": "mean", "cls_token": "cls", "lasttoken": "last"}


def transformer_folder(path: Path) -> Path:
    """The folder of the transformer itself: often the whole one, else what modules.json says."""
    for kind, folder in _modules(path):
        if kind == "Transformer":
            return folder
    return path


def read(path: Path) -> SentenceSettings:
    """What the files of a folder say of the vectors of texts. Raises ModelFileError."""
    modules = _modules(path)
    pooling: PoolingName = "mean"
    for kind, folder in modules:
        if kind == "Pooling":
            pooling = _pooling(folder / "config.json")
        elif kind not in {"Transformer", "Normalize"}:
            raise ModelFileError(path / MODULES, f"has a module {kind!r}, which is not known here")
    normalize = not modules or any(kind == "Normalize" for kind, _ in modules)
    return SentenceSettings(pooling, normalize, _max_seq_length(transformer_folder(path)))


def _modules(path: Path) -> list[tuple[str, Path]]:
    """The modules in order: class, folder."""
    file = path / MODULES
    if not file.is_file():
        return []
    try:
        return [(one["type"].rsplit(".", 1)[-1], named_path(file, one["path"])) for one in read_json(file)]
    except (TypeError, KeyError, AttributeError) as error:
        raise ModelFileError(file, f"is no list of modules with type and path: {error!r}") from None


def _pooling(config: Path) -> PoolingName:
    said = read_object(config)
    chosen = [
        mode.removeprefix("pooling_mode_") for mode, on in said.items() if mode.startswith("pooling_mode_") and on
    ]
    if len(chosen) != 1 or chosen[0] not in POOLINGS:
        raise ModelFileError(
            config, f"pools by {' and '.join(chosen) or 'nothing'}, expected one of {', '.join(POOLINGS)}"
        )
    return POOLINGS[chosen[0]]


def _max_seq_length(folder: Path) -> int | None:
    file = folder / "sentence_bert_config.json"
    most = read_object_if_there(file).get("max_seq_length")
    if most is not None and (type(most) is not int or most < 1):
        raise ModelFileError(file, f"has 'max_seq_length': {most!r}, expected a whole number from 1")
    return most
