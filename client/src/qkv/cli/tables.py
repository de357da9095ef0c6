"""Matrices as people read them: labelled rows and columns of numbers."""

from collections.abc import Sequence
from typing import Any

import numpy.typing as npt

Array = npt.NDArray[Any]

DECIMALS = 6


def table(matrix: Array, rows: Sequence[str], columns: Sequence[str], *, decimals: int = DECIMALS) -> str:
    """A matrix as lines of text, each row and column under its label."""
    cells = [[f"{number:.{decimals}f}" for number in row] for row in matrix.tolist()]
    label = max(map(len, rows), default=0)
    width = max([len(cell) for row in cells for cell in row] + [len(column) for column in columns], default=0)
    lines = [" " * (label + 2) + "".join(f"  {column:>{width}}" for column in columns)]
    for name, row in zip(rows, cells, strict=True):
        lines.append(f"  {name:<{label}}" + "".join(f"  {cell:>{width}}" for cell in row))
    return "\n".join(lines)
