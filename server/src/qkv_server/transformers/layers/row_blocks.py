"""Rows of an array, so many at a time that element-wise passes over them stay in the cache of a core."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]

ELEMENTS = 48 * 1024  # of a block: with two more blocks of working memory half a megabyte, of the level 2 cache


def row_blocks(rows: int, width: int) -> Iterator[slice]:
    """The places of blocks of an array (rows, width), in order."""
    step = max(1, ELEMENTS // max(1, width))
    for begin in range(0, rows, step):
        yield slice(begin, min(begin + step, rows))
