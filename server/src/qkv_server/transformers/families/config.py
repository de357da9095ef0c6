"""What the config of a model says, checked: errors name the file, the field, and what was expected."""

from typing import Any

from qkv_server.transformers.errors import ModelFileError
from qkv_server.transformers.files import ModelFiles
from qkv_server.transformers.layers.activations import ACTIVATIONS, Activation


def count(files: ModelFiles, name: str, default: int | None = None) -> int:
    """A whole number from 1; without a default it has to be there. Raises ModelFileError."""
    value = files.config.get(name)
    if value is None and default is not None:
        return default
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise refusal(files, name, "a whole number from 1")
    return value


def number(files: ModelFiles, name: str, default: float | None = None) -> float:
    """A number; without a default it has to be there. Raises ModelFileError."""
    value = files.config.get(name)
    if value is None and default is not None:
        return default
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise refusal(files, name, "a number")
    return float(value)


def flag(files: ModelFiles, name: str, default: bool) -> bool:
    """True or false. Raises ModelFileError."""
    value = files.config.get(name)
    if value is None:
        return default
    if not isinstance(value, bool):
        raise refusal(files, name, "true or false")
    return value


def of_answers(files: ModelFiles, name: str) -> Any:
    """What is said of answers: by generation_config.json, else by config.json; None if by neither."""
    return files.generation.get(name, files.config.get(name))


def token(files: ModelFiles, name: str) -> int | None:
    """The number of a token of the vocabulary, if there is one. Raises ModelFileError."""
    value, size = of_answers(files, name), count(files, "vocab_size")
    if value is None:
        return None
    if not is_token(value, size):
        raise refusal(files, name, f"the number of a token, below {size}")
    return int(value)


def is_token(value: Any, size: int) -> bool:
    """Whether this is the number of a token of a vocabulary of so many."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < size


def activation(files: ModelFiles, name: str, default: str | None = None) -> Activation:
    """An activation function, by its name. Raises ModelFileError."""
    value = files.config.get(name, default)
    if value not in ACTIVATIONS:
        raise refusal(files, name, f"one of {', '.join(ACTIVATIONS)}")
    return ACTIVATIONS[value]


def refusal(files: ModelFiles, name: str, expected: str) -> ModelFileError:
    """The error of a field that is missing, or says what cannot be."""
    for file, said in (("generation_config", files.generation), ("config", files.config)):
        if name in said:
            return ModelFileError(files.path, f"{file} has {name!r}: {said[name]!r}, expected {expected}")
    return ModelFileError(files.path, f"config has no {name!r}, expected {expected}")
