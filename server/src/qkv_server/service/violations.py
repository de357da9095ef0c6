"""What is wrong with the fields of a request, collected, so that it is told at once."""

from collections.abc import Sequence
from math import isfinite

from qkv import Violation
from qkv_server.core.violations import MOST_TOLD
from qkv_server.service.errors import InvalidRequestError

NO_TOKENS = "has no tokens, expected one at least"


class Violations:
    """The violations found so far."""

    def __init__(self) -> None:
        self._found: list[Violation] = []

    def note(self, field: str, description: str) -> None:
        """Note that a field is wrong; no more than anybody would read."""
        if len(self._found) < MOST_TOLD:
            self._found.append(Violation(field, description))

    def within(self, field: str, number: float, least: float, most: float | None = None) -> None:
        """Note a number that is not between two, both included, or no number at all."""
        if not (least <= number and (number <= most if most is not None else isfinite(number))):
            if most is not None:
                expected = f"from {least:g} to {most:g}"
            else:
                expected = f"at least {least:g}" if isfinite(number) else f"a finite number from {least:g}"
            self.note(field, f"is {number:g}, expected {expected}")

    def some(self, field: str, given: Sequence[object]) -> None:
        """Note a repeated field that is empty."""
        if not given:
            self.note(field, "has no elements, expected at least one")

    def refuse(self) -> None:
        """Raise InvalidRequestError if there are any."""
        if self._found:
            raise InvalidRequestError(self._found)
