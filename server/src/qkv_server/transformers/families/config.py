"""What the config of a model says, checked: errors name the file, the field, what it says, and what was expected."""

import sys
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, TypeGuard

from qkv_server.transformers.errors import ModelFileError
from qkv_server.transformers.files import ModelFiles
from qkv_server.transformers.layers.activations import ACTIVATIONS, Activation

MOST = 2**31 - 1  # of what is counted: the contract's int32
NO_TASK: Mapping[str, Any] = MappingProxyType({})  # of answers at large: it says nothing of its own


def count(files: ModelFiles, name: str, default: int | None = None) -> int:
    """A whole number from 1; without a default it has to be there. Raises ModelFileError."""
    value = files.config.get(name)
    if value is None and default is not None:
        return default
    if not is_count(value):
        raise refusal(files, name, f"a whole number from 1 to {MOST}")
    return value


def is_count(value: Any) -> TypeGuard[int]:
    """Whether this is a whole number from 1 to as many as the contract can tell."""
    return type(value) is int and 1 <= value <= MOST


def head_size(files: ModelFiles, size: str, heads: str) -> int:
    """The size of a head, where the heads share the features: two fields, of the features and of the heads.

    Raises ModelFileError if one of them is wrong, or they do not divide.
    """
    whole, parts = count(files, size), count(files, heads)
    if whole % parts:
        raise refusal(files, heads, f"a divisor of {size}, {whole}")
    return whole // parts


def number(files: ModelFiles, name: str, default: float | None = None) -> float:
    """A number above 0; without a default it has to be there. Raises ModelFileError."""
    value = files.config.get(name)
    if value is None and default is not None:
        return default
    if not is_positive(value):
        raise refusal(files, name, "a number above 0")
    return float(value)


def is_positive(value: Any) -> TypeGuard[float]:
    """Whether this is a number above 0, neither infinite nor NaN: JSON as Python reads it has both."""
    return type(value) in (int, float) and 0 < value <= sys.float_info.max


def flag(files: ModelFiles, name: str, default: bool) -> bool:
    """True or false. Raises ModelFileError."""
    value = files.config.get(name)
    if value is None:
        return default
    if not isinstance(value, bool):
        raise refusal(files, name, "true or false")
    return value


def names(files: ModelFiles, name: str) -> list[str]:
    """A list of names, empty if the field is not there. Raises ModelFileError."""
    value = files.config.get(name)
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise refusal(files, name, "a list of names")
    return value


def mapping(files: ModelFiles, name: str) -> Mapping[str, Any]:
    """A mapping, empty if the field is not there. Raises ModelFileError."""
    value = files.config.get(name)
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise refusal(files, name, "a mapping")
    return value


def of_answers(files: ModelFiles, name: str, of_task: Mapping[str, Any] = NO_TASK) -> Any:
    """What is said of answers: by a task, else by generation_config.json, else by config.json; None if by none."""
    said = of_task.get(name)
    return files.generation.get(name, files.config.get(name)) if said is None else said


def token(files: ModelFiles, name: str) -> int | None:
    """The number of a token of the vocabulary, if there is one. Raises ModelFileError."""
    value, size = of_answers(files, name), count(files, "vocab_size")
    if value is None:
        return None
    if not is_token(value, size):
        raise refusal(files, name, f"the number of a token, below {size}")
    return value


def token_list(files: ModelFiles, name: str, of_task: Mapping[str, Any] = NO_TASK) -> list[int]:
    """The numbers of tokens of the vocabulary: of one, of several, of none. Raises ModelFileError."""
    value, size = of_answers(files, name, of_task), count(files, "vocab_size")
    tokens = value if isinstance(value, list) else [] if value is None else [value]
    if not all(is_token(one, size) for one in tokens):
        raise refusal(files, name, f"the number of a token, below {size}, or a list of them", of_task)
    return tokens


def token_rows(files: ModelFiles, name: str, of_task: Mapping[str, Any] = NO_TASK) -> list[list[int]]:
    """The numbers of tokens of the vocabulary that stand in a row, one or more in each. Raises ModelFileError."""
    rows, size = of_answers(files, name, of_task) or [], count(files, "vocab_size")
    if not isinstance(rows, list) or not all(
        isinstance(row, list) and row and all(is_token(one, size) for one in row) for row in rows
    ):
        raise refusal(files, name, f"lists of numbers of tokens, below {size}", of_task)
    return rows


def is_token(value: Any, size: int) -> TypeGuard[int]:
    """Whether this is the number of a token of a vocabulary of so many."""
    return type(value) is int and 0 <= value < size


def activation(files: ModelFiles, name: str, default: str | None = None) -> Activation:
    """An activation function, by its name. Raises ModelFileError."""
    value = files.config.get(name, default)
    if not isinstance(value, str) or value not in ACTIVATIONS:
        raise refusal(files, name, f"one of {', '.join(ACTIVATIONS)}")
    return ACTIVATIONS[value]


def refusal(files: ModelFiles, name: str, expected: str, of_task: Mapping[str, Any] = NO_TASK) -> ModelFileError:
    """The error of a field that is missing, or says what cannot be."""
    if of_task.get(name) is not None:
        problem = f"config has {name!r} of a task: {of_task[name]!r:.200}, expected {expected}"
        return ModelFileError(files.path, problem)
    for file, said in (("generation_config", files.generation), ("config", files.config)):
        if name in said:
            return ModelFileError(files.path, f"{file} has {name!r}: {said[name]!r:.200}, expected {expected}")
    return ModelFileError(files.path, f"config has no {name!r}, expected {expected}")
