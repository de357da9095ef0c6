"""Models whose config says something else."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from qkv_server.transformers.files import ModelFiles, read_model


def with_config(path: Path, changed: Mapping[str, object]) -> ModelFiles:
    """The files of a model with fields of its config changed; None takes a field away."""
    files = read_model(path)
    config = {name: value for name, value in {**files.config, **changed}.items() if value is not None}
    return replace(files, config=config)
