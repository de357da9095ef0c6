"""Matrices as heat maps, with matplotlib, which only this needs."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy.typing as npt

MOST_WITH_NUMBERS = 10  # rows or columns; of larger matrices the colours say enough

Panel = tuple[npt.NDArray[Any], Sequence[str], Sequence[str]]


def heat_maps(file: Path, panels: Mapping[str, Panel]) -> None:
    """Draw matrices side by side, each under its title with its rows and columns labelled, and save the picture.

    Raises ImportError, saying how to install it, when matplotlib is missing.
    """
    try:
        from matplotlib.figure import Figure  # noqa: PLC0415 - an optional extra
    except ImportError as error:
        raise ImportError("drawing needs matplotlib: pip install 'qkv[plot]'") from error
    longest = max(max(matrix.shape) for matrix, _, _ in panels.values())
    stretch = min(max(1.0, longest / MOST_WITH_NUMBERS), 4.0)
    figure = Figure(figsize=(4.2 * stretch * len(panels), 4 * stretch), layout="constrained")
    places = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, (title, (matrix, rows, columns)) in zip(places, panels.items(), strict=True):
        image = axes.imshow(matrix, cmap="viridis")
        axes.set_title(title)
        axes.set_xticks(range(len(columns)), columns, rotation=90 if longest > MOST_WITH_NUMBERS else 0)
        axes.set_yticks(range(len(rows)), rows)
        if longest <= MOST_WITH_NUMBERS:
            _write_numbers(axes, matrix)
        figure.colorbar(image, ax=axes, shrink=0.75)
    figure.savefig(file, dpi=150, format=file.suffix.removeprefix(".") or "png")  # or matplotlib changes the name


def _write_numbers(axes: Any, matrix: npt.NDArray[Any]) -> None:
    """Write each number of a matrix in its place, black on bright and white on dark."""
    middle = (float(matrix.min()) + float(matrix.max())) / 2
    for row in range(matrix.shape[0]):
        for column in range(matrix.shape[1]):
            number = float(matrix[row, column])
            color = "black" if number > middle else "white"
            axes.text(column, row, f"{number:.3f}", ha="center", va="center", color=color)
