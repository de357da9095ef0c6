"""What is wrong with the fields of a request, collected, so that it is told at once."""

from collections.abc import Sequence

from qkv import Violation
from qkv_server.service.errors import InvalidRequestError

MOST_TOLD = 100  # of repeated fields; more than a status holds


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
        if not (least <= number and (number <= most if most is not None else number < float("inf"))):
            expected = f"at least {least:g}" if most is None else f"from {least:g} to {most:g}"
            self.note(field, f"is {number:g}, expected {expected}")

    def some(self, field: str, given: Sequence[object]) -> None:
        """Note a repeated field that is empty."""
        if not given:
            self.note(field, "has no elements, expected at least one")

    def refuse(self) -> None:
        """Raise InvalidRequestError if there are any."""
        if self._found:
            raise InvalidRequestError(self._found)
