"""What Python people write put into the fields of messages; None leaves a field unset."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from qkv.integers import beyond
from qkv.wire import Draft

T = TypeVar("T")

FLAGS = ("mask", "block_map")


def set_operands(draft: Draft[Any], arrays: Mapping[str, Any], prefix: str = "") -> None:
    """Set operand fields by name; a number that Python wrote is float64. The prefix stands before names in errors.

    But for masks: a list of 0 and 1 could be meant as booleans or to be added, so that the server refuses it.
    """
    for name, given in arrays.items():
        if given is None:
            continue
        array = np.asarray(given)
        if not hasattr(given, "dtype") and array.dtype.kind in "iu" and name not in FLAGS:
            array = array.astype(np.float64)
        _set_operand(draft, name, array, prefix)


def set_integers(draft: Draft[Any], arrays: Mapping[str, Any], prefix: str = "") -> None:
    """Set operand fields that hold integers; those that Python wrote are int64."""
    for name, given in arrays.items():
        if given is None:
            continue
        array = np.asarray(given)
        if not hasattr(given, "dtype") and (array.dtype.kind in "iu" or not array.size):
            array = array.astype(np.int64)
        _set_operand(draft, name, array, prefix)


def set_lists(message: Any, values: Mapping[str, Any], names: Iterable[str], prefix: str = "") -> None:
    """Set fields that are several numbers, each from the sequence or array of its name if there is one."""
    for name in names:
        given = values.get(name)
        if given is not None:
            try:
                getattr(message, name).extend(np.asarray(given).ravel().tolist())
            except (TypeError, ValueError) as error:
                raise type(error)(f"{prefix}{name}: {error}") from None


def set_fields(message: Any, values: Mapping[str, Any], prefix: str = "") -> None:
    """Set fields that are a text, a number, a boolean, or several of them, each from the value of its name."""
    for name, value in values.items():
        if value is None:
            continue
        field = message.DESCRIPTOR.fields_by_name[name]
        try:
            if field.is_repeated:
                getattr(message, name).extend(value)
            else:
                setattr(message, name, value)
        except UnicodeEncodeError as error:  # half of a surrogate pair
            raise ValueError(f"{prefix}{name}: {error}") from None
        except (TypeError, ValueError) as error:
            raise type(error)(f"{prefix}{name}{_wrong(field, value) or f': {error}'}") from None


def several(given: Sequence[T], name: str) -> Sequence[T]:
    """What was given; raises TypeError for a single text, which is a sequence too, but of characters."""
    if isinstance(given, str):
        raise TypeError(f"{name}: is one text, expected a list")
    return given


def _wrong(field: Any, value: object) -> str | None:
    """Which integer a field cannot hold, by its place if there are several, and why; None if it is something else."""
    if not field.is_repeated:
        return f": {reason}" if (reason := beyond(field, value)) else None
    for place, each in enumerate(value if isinstance(value, Sequence) else ()):
        if reason := beyond(field, each):
            return f"[{place}]: {reason}"
    return None


def _set_operand(draft: Draft[Any], name: str, array: npt.NDArray[Any], prefix: str) -> None:
    try:
        draft.put(name, array)
    except TypeError as error:
        raise TypeError(f"{prefix}{name}: {error}") from None
