"""What the modules of a sentence-transformers folder say: pooling, normalization, how much of a text is read."""

import json
from pathlib import Path
from typing import Any

from qkv_server.transformers.errors import ModelFileError
from qkv_server.transformers.files.json_file import read_object, read_object_if_there

MODULES = "modules.json"
POOLINGS = {"mean_tokens": "mean", "cls_token": "cls", "lasttoken": "last"}


def transformer_folder(path: Path) -> Path:
    """The folder of the transformer itself: often the whole one, else what modules.json says."""
    for kind, folder in _modules(path):
        if kind == "Transformer":
            return folder
    return path


def read(path: Path) -> dict[str, Any]:
    """`pooling`, `normalize`, `max_seq_length`, each only if the files say it. Raises ModelFileError."""
    modules = _modules(path)
    said: dict[str, Any] = {"normalize": any(kind == "Normalize" for kind, _ in modules)} if modules else {}
    for kind, folder in modules:
        if kind == "Pooling":
            said["pooling"] = _pooling(folder / "config.json")
        elif kind not in {"Transformer", "Normalize"}:
            raise ModelFileError(path / MODULES, f"has a module {kind!r}, which is not known here")
    most = read_object_if_there(transformer_folder(path) / "sentence_bert_config.json").get("max_seq_length")
    if isinstance(most, int):
        said["max_seq_length"] = most
    return said


def _modules(path: Path) -> list[tuple[str, Path]]:
    """The modules in order: class, folder."""
    file = path / MODULES
    if not file.is_file():
        return []
    try:
        return [(one["type"].rsplit(".", 1)[-1], path / one["path"]) for one in json.loads(file.read_text("utf-8"))]
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ModelFileError(file, f"is no list of modules with type and path: {error!r}") from None


def _pooling(config: Path) -> str:
    said = read_object(config)
    chosen = [
        mode.removeprefix("pooling_mode_") for mode, on in said.items() if mode.startswith("pooling_mode_") and on
    ]
    if len(chosen) != 1 or chosen[0] not in POOLINGS:
        raise ModelFileError(
            config, f"pools by {' and '.join(chosen) or 'nothing'}, expected one of {', '.join(POOLINGS)}"
        )
    return POOLINGS[chosen[0]]
