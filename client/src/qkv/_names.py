"""Names of options and choices: those that people write are known or refused, those that come back are words."""

from collections.abc import Collection, Mapping
from typing import Any


def refuse_unknown(given: Collection[str], known: Collection[str], what: str) -> None:
    """Raise TypeError naming every name that is not known, and those that are."""
    if unknown := set(given) - set(known):
        raise TypeError(f"unknown {what} {', '.join(sorted(unknown))}; expected one of {', '.join(sorted(known))}")


def check_entries(given: object, known: Collection[str], path: str) -> None:
    """Raise TypeError unless something is a dictionary that has none but known entries."""
    if not isinstance(given, Mapping):
        raise TypeError(f"{path}: is {given!r}, expected a dictionary of {', '.join(known)}")
    refuse_unknown(given, known, f"entry of {path}")


def named_choice(enum: Any, prefix: str, name: str, option: str) -> Any:
    """The number of an enum value by its name without the prefix; raises ValueError naming the choices."""
    choices = [value.removeprefix(prefix).lower() for value in enum.keys()[1:]]
    if not isinstance(name, str) or name.lower() not in choices:
        raise ValueError(f"{option}: is {name!r}, expected one of {', '.join(map(repr, choices))}")
    return enum.Value(prefix + name.upper())


def choice_name(enum: Any, prefix: str, number: int) -> Any:
    """The name of an enum value without its prefix, in lower case; the number where a newer server has more values."""
    return enum.Name(number).removeprefix(prefix).lower() if number in enum.values() else str(number)
