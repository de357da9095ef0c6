"""What is wrong with a problem: every wrong field, named by its path in the contract, all at once."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from qkv_server.core.precision import FLOATING, DType, is_floating
from qkv_server.core.problem import Array

MOST_TOLD = 100  # wrong entries of a list, which may have millions; more than a status holds


@dataclass(frozen=True, slots=True)
class Violation:
    """One wrong field: its path, as `visibility.mask`, and what was expected."""

    field: str
    description: str

    def __str__(self) -> str:
        return f"{self.field}: {self.description}"


class InvalidProblemError(ValueError):
    """A problem that has no answer. `violations` has one entry for each wrong field."""

    def __init__(self, violations: tuple[Violation, ...]) -> None:
        super().__init__("; ".join(map(str, violations)))
        self.violations = violations


class Violations:
    """Collects what is wrong, so that a caller hears of everything in one answer."""

    def __init__(self) -> None:
        self._found: dict[str, Violation] = {}

    def add(self, field: str, description: str) -> None:
        """Note that a field is wrong; the first thing said of a field stands."""
        self._found.setdefault(field, Violation(field, description))

    def require(self, condition: bool, field: str, description: str) -> bool:
        """Note the field as wrong unless the condition holds, and return the condition."""
        if not condition:
            self.add(field, description)
        return condition

    def require_floating(self, dtype: DType, field: str) -> None:
        """Note the field as wrong unless attention can be computed on its type."""
        if not is_floating(dtype):
            self.add(field, f"type is {dtype.name}, expected one of {', '.join(FLOATING[:-1])} or {FLOATING[-1]}")

    def require_shape(self, array: Array, expected: Sequence[int | None], field: str) -> bool:
        """Note the field as wrong unless its array has the shape, in which None stands for any length."""
        fits = array.ndim == len(expected) and all(
            want is None or got == want for got, want in zip(array.shape, expected, strict=True)
        )
        wanted = ", ".join("any" if want is None else str(want) for want in expected)
        comma = "," if len(expected) == 1 else ""
        return self.require(fits, field, f"shape is {array.shape}, expected ({wanted}{comma})")

    def __len__(self) -> int:
        return len(self._found)

    def __iter__(self) -> Iterator[Violation]:
        return iter(self._found.values())

    def raise_if_any(self) -> None:
        """Raise InvalidProblemError if anything was noted."""
        if self._found:
            raise InvalidProblemError(tuple(self._found.values()))
