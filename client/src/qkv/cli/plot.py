"""Matrices as heat maps, with matplotlib, which only this needs."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy.typing as npt

Panel = tuple[npt.NDArray[Any], Sequence[str], Sequence[str]]


def heat_maps(file: Path, panels: Mapping[str, Panel]) -> None:
    """Draw matrices side by side, each under its title with its rows and columns labelled, and save the picture.

    Raises ImportError, saying how to install it, when matplotlib is missing.
    """
    try:
        from matplotlib.figure import Figure  # noqa: PLC0415 - an optional extra
    except ImportError as error:
        raise ImportError("drawing needs matplotlib: pip install 'qkv[plot]'") from error
    figure = Figure(figsize=(4.2 * len(panels), 4), layout="constrained")
    for axes, (title, (matrix, rows, columns)) in zip(figure.subplots(1, len(panels)), panels.items(), strict=True):
        image = axes.imshow(matrix, cmap="viridis")
        axes.set_title(title)
        axes.set_xticks(range(len(columns)), columns)
        axes.set_yticks(range(len(rows)), rows)
        middle = (float(matrix.min()) + float(matrix.max())) / 2
        for row in range(len(rows)):
            for column in range(len(columns)):
                number = float(matrix[row, column])
                color = "black" if number > middle else "white"
                axes.text(column, row, f"{number:.3f}", ha="center", va="center", color=color)
        figure.colorbar(image, ax=axes, shrink=0.75)
    figure.savefig(file, dpi=150, format=file.suffix.removeprefix(".") or "png")  # or matplotlib changes the name
