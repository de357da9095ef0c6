"""Numbers as people read them: rounded, counted, and matrices as labelled rows and columns."""

from collections.abc import Sequence
from typing import Any

import numpy.typing as npt

Array = npt.NDArray[Any]

DECIMALS = 6
THOUSANDS = ("", "k", "M", "G", "T")


def rounded(number: float, unit: str) -> str:
    """A size in three digits, as 24.2 kB; nothing for 0, which is not known."""
    power = 0
    while number >= 999.5 and power < len(THOUSANDS) - 1:  # which three digits would write as 1e+03
        number, power = number / 1000, power + 1
    return f"{number:.3g} {THOUSANDS[power]}{unit}".rstrip() if number else ""


def parameter_count(number: int) -> str:
    """How many parameters a model has, as 22.7 M; a thousand million is a B in the names of models, too."""
    return rounded(number, "").replace("G", "B")


def counted(number: int, noun: str) -> str:
    """So many of something, as 1 token and 2 tokens."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def table(matrix: Array, rows: Sequence[str], columns: Sequence[str], *, decimals: int = DECIMALS) -> str:
    """A matrix as lines of text, each row and column under its label."""
    cells = [[f"{number:.{decimals}f}" for number in row] for row in matrix.tolist()]
    label = max(map(len, rows), default=0)
    width = max([len(cell) for row in cells for cell in row] + [len(column) for column in columns], default=0)
    lines = [" " * (label + 2) + "".join(f"  {column:>{width}}" for column in columns)]
    for name, row in zip(rows, cells, strict=True):
        lines.append(f"  {name:<{label}}" + "".join(f"  {cell:>{width}}" for cell in row))
    return "\n".join(lines)
