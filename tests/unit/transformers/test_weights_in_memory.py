"""What models hold in memory is what their weights take, which is what the memory budget counts."""

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from tiny_models import FOLDER

from qkv_server.transformers.files import read_model
from qkv_server.transformers.loading import load


def arrays(value: Any) -> Iterator[npt.NDArray[Any]]:
    """All arrays of a model, those that layers share several times."""
    if isinstance(value, np.ndarray):
        yield value
    elif is_dataclass(value):
        for field in fields(value):
            yield from arrays(getattr(value, field.name))
    elif isinstance(value, list | tuple):
        for element in value:
            yield from arrays(element)


@pytest.mark.parametrize("name", sorted(config.parent.name for config in FOLDER.glob("*/config.json")))
def test_a_model_holds_each_weight_once(name: str) -> None:
    """Beside its weights in float32 it holds hardly more: the rest of a block of tokens, and computed positions."""
    files = read_model(FOLDER / name)
    held = {(array.__array_interface__["data"], array.nbytes) for array in arrays(load(files))}
    assert sum(nbytes for _, nbytes in held) <= 1.1 * 4 * files.weights.parameters
