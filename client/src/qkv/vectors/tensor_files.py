"""Arrays by name in safetensors files, with the package safetensors, which only these need."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from qkv.codec import Array


def load(file: Path) -> dict[str, Array]:
    """The arrays of a file; raises ImportError, saying how to install it, when safetensors is missing."""
    arrays: dict[str, Array] = package().load_file(file)
    return arrays


def save(file: Path, arrays: Mapping[str, Array]) -> None:
    """Save arrays; raises as `load`."""
    package().save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, file)


def package() -> Any:
    """The module; raises ImportError, saying how to install it, when it is missing."""
    try:
        import safetensors.numpy  # noqa: PLC0415 - an optional extra
    except ImportError as error:
        raise ImportError("safetensors files need a package more: pip install 'qkv[safetensors]'") from error
    return safetensors.numpy
