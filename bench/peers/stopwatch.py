"""How long a call takes, at one shape after the other."""

from collections.abc import Callable

import numpy as np
from measure import calls_of_a_round, median_seconds

from peers.formula import Array, Shape, attention, operands

Call = Callable[[Array, Array, Array], object]


class Stopwatch:
    """Times a call on operands of its own. An answer that is an array must be that of the formula."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._runs: dict[Shape, tuple[Callable[[], object], int]] = {}

    def median(self, shape: Shape) -> float:
        """The median of one round of calls, in seconds; the first at a shape is preceded by calls to warm up."""
        if shape not in self._runs:
            self._runs[shape] = self._prepared(shape)
        return median_seconds(*self._runs[shape])

    def _prepared(self, shape: Shape) -> tuple[Callable[[], object], int]:
        """A call at a shape, and how many of it are a round."""
        query, key, value = operands(shape)

        def run() -> object:
            return self._call(query, key, value)

        if isinstance(answer := run(), np.ndarray):
            np.testing.assert_allclose(answer, attention(query, key, value), rtol=1e-4, atol=1e-5)
        return run, calls_of_a_round(run)
