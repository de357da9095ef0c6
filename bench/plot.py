"""Ratios as bars, on a scale where twice as fast and twice as slow are as far from 1."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure


def ratio_bars(names: Sequence[str], ratios: Sequence[float], label: str, path: Path) -> None:
    """Draw one bar for each ratio into a PNG: green up to 1, gray above."""
    figure = Figure(figsize=(9, 0.3 * len(names) + 1), layout="constrained")
    axes = figure.subplots()
    colors = ["tab:green" if ratio <= 1 else "tab:gray" for ratio in ratios]
    axes.barh(names, [ratio - 1 for ratio in ratios], left=1, color=colors)
    axes.axvline(1, color="black", linewidth=1)
    axes.set_xscale("log", base=2)
    axes.set_xlabel(label)
    axes.invert_yaxis()
    figure.savefig(path, dpi=120)
