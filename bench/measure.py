"""How everything here is measured: peers in turn, in one process, by the median of their ratios."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

SECONDS_EACH = 0.5  # of one side in one round
ROUNDS = 5


@dataclass(frozen=True, slots=True)
class Comparison:
    """The median time of ours and of the peer's, in seconds, and the median of the ratios of the rounds."""

    ours: float
    peer: float
    ratio: float


def compare(ours: Callable[[], object], peer: Callable[[], object]) -> Comparison:
    """Time the two in turn: a machine that slows down slows both, so that only the ratio counts."""
    calls = [calls_of_a_round(run) for run in (ours, peer)]
    times = np.array(
        [[median_seconds(run, n) for run, n in zip((ours, peer), calls, strict=True)] for _ in range(ROUNDS)]
    )
    ours_median, peer_median = np.median(times, axis=0)
    return Comparison(float(ours_median), float(peer_median), float(np.median(times[:, 0] / times[:, 1])))


def geometric_mean(ratios: list[float]) -> float:
    """The mean of ratios that treats twice as fast and twice as slow alike."""
    return float(np.exp(np.mean(np.log(ratios))))


def calls_of_a_round(run: Callable[[], object]) -> int:
    """How many calls of a function make one round."""
    run()  # what the first call sets up is not what is compared
    return max(3, min(300, int(SECONDS_EACH / max(median_seconds(run, 1), 1e-6))))


def median_seconds(run: Callable[[], object], calls: int) -> float:
    """The median time of that many calls, in seconds."""
    times = []
    for _ in range(calls):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return float(np.median(times))
