"""A whole call over loopback: against a raw gRPC echo of the same bytes, and against servers of the plain formula.

Every server and every client is a process of its own, the peers in environments of their own; what is compared runs in
turn, one round each, and nothing else is up. All have as many threads. Run it with `make bench-call`; nothing else
should run on the machine.
"""

import json
import math
import platform
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from measure import ROUNDS, geometric_mean
from peers.formula import Array, Shape
from peers.stopwatch import Stopwatch
from plot import ratio_bars
from systems import THREADS, System, Timer, UnavailableError, running
from threadpoolctl import threadpool_limits

from qkv import tune_allocator
from qkv_server import core

SHAPES: tuple[Shape, ...] = ((1, 1, 3, 4), (1, 8, 128, 64), (1, 8, 512, 64), (1, 8, 2048, 64))  # B, H, L, D
QKV = System("qkv_call", own_environment=False)
ECHO = System("echo", own_environment=False)
PEERS = ("triton", "mlserver", "ray_serve")
REQUIREMENTS = Path(__file__).parent / "peers"
RESULTS = Path(__file__).parent / "results"

Rounds = dict[str, list[float]]  # median seconds of a call in each round, by system


@dataclass(frozen=True, slots=True)
class Result:
    """One comparison at every shape: what was timed, and a ratio of which the line of the summary consists."""

    title: str
    tuned: bool
    rounds: dict[Shape, Rounds]
    ratios: dict[Shape, float]

    def line(self) -> str:
        """The ratio at each shape, and their geometric mean."""
        ratios = list(self.ratios.values())
        mean = geometric_mean(ratios) if min(ratios) > 0 else math.nan  # a difference can be lost in the noise
        return ", ".join(f"{ratio:.2f} at {shape}" for shape, ratio in self.ratios.items()) + f"; geomean {mean:.2f}"


def main() -> int:
    """Run every comparison, print the table and the summary, and save both."""
    threadpool_limits(1, user_api="blas")  # as in the server: workers are the parallelism
    tune_allocator()
    print(f"{THREADS} threads each; medians of {ROUNDS} rounds in turn\n")
    results, missing = [_against_echo()], {}
    for peer in PEERS:
        for tuned in (False, True):
            try:
                results.append(_against_peer(peer, tuned))
            except UnavailableError as error:
                print(f"  left out: {error}", flush=True)
                if not tuned:
                    missing[peer] = str(error)
                break
    _print_table(results)
    summary = {result.title: result.line() for result in results if not result.tuned}
    summary |= {_title(peer, tuned=False): f"not measured, {reason}" for peer, reason in missing.items()}
    _save(results, summary)
    _plot(results)
    for result in results:
        if result.tuned:
            print(f"{result.title}: {result.line()}")
    for title in ("call overhead vs raw echo", *(_title(peer, tuned=False) for peer in PEERS)):
        print(f"{title}: {summary[title]}")
    return 0


def _title(peer: str, *, tuned: bool) -> str:
    return f"vs {peer.replace('_', ' ')}" + (", its memory kept" if tuned else "")


def _against_echo() -> Result:
    """What a call takes beyond the arithmetic, which is timed in this process, over what the bytes alone take."""
    title = "call overhead vs raw echo"
    print(f"{title}: starting", flush=True)
    with ExitStack() as stack:
        executor = stack.enter_context(ThreadPoolExecutor(THREADS))
        timers = {name: stack.enter_context(running(system)) for name, system in (("qkv", QKV), ("echo", ECHO))}
        rounds = _in_turn(timers | {"core": _core(executor)})
    ratios = {
        shape: float(np.median((np.array(times["qkv"]) - times["core"]) / times["echo"]))
        for shape, times in rounds.items()
    }
    return Result(title, False, rounds, ratios)


def _against_peer(peer: str, tuned: bool) -> Result:
    """How many times as fast a call is as one of a peer, both as they come or the peer with its memory kept."""
    title = _title(peer, tuned=tuned)
    print(f"{title}: starting", flush=True)
    with running(System(peer, tuned=tuned)) as theirs, running(QKV) as ours:
        rounds = _in_turn({"qkv": ours, peer: theirs})
    ratios = {shape: float(np.median(np.array(times[peer]) / times["qkv"])) for shape, times in rounds.items()}
    return Result(title, tuned, rounds, ratios)


def _core(executor: ThreadPoolExecutor) -> Timer:
    """The arithmetic of the same calls in this process, on as many threads as the server has."""
    spread = core.spread_over(executor, THREADS - 1)

    def call(query: Array, key: Array, value: Array) -> Array:
        problem = core.Problem(query=query, key=key, value=value)
        return core.solve(problem, core.check(problem), spread, THREADS).output

    return Stopwatch(call).median


def _in_turn(timers: Mapping[str, Timer]) -> dict[Shape, Rounds]:
    """The rounds of each system at each shape, one after the other."""
    rounds: dict[Shape, Rounds] = {}
    for shape in SHAPES:
        for median in timers.values():
            median(shape)  # a round to warm up
        rounds[shape] = {name: [] for name in timers}
        for _ in range(ROUNDS):
            for name, median in timers.items():
                rounds[shape][name].append(median(shape))
        print(
            f"  {shape}: " + ", ".join(f"{n} {_milliseconds(t):.2f} ms" for n, t in rounds[shape].items()), flush=True
        )
    return rounds


def _milliseconds(times: list[float]) -> float:
    return float(np.median(times)) * 1e3


def _print_table(results: list[Result]) -> None:
    """A column for each shape; a row for each system, and for each peer that of qkv in the same rounds."""
    print(f"\n{'milliseconds a call':40}" + "".join(f"{shape!s:>18}" for shape in SHAPES))
    for result in results:
        print(result.title)
        for name in result.rounds[SHAPES[0]]:
            cells = (_milliseconds(result.rounds[shape][name]) for shape in SHAPES)
            print(f"  {name:38}" + "".join(f"{cell:18.2f}" for cell in cells))
        print(f"  {'ratio':38}" + "".join(f"{result.ratios[shape]:18.2f}" for shape in SHAPES))
    print()


def _save(results: list[Result], summary: dict[str, str]) -> None:
    RESULTS.mkdir(exist_ok=True)
    rows: list[dict[str, Any]] = [
        {"comparison": result.title, "shape": shape, "seconds": times, "ratio": result.ratios[shape]}
        for result in results
        for shape, times in result.rounds.items()
    ]
    peers = {peer: (REQUIREMENTS / f"{peer}.txt").read_text().split() for peer in PEERS}
    machine = {"processor": platform.machine(), "numpy": np.__version__, "threads": THREADS, "peers": peers}
    content = {"machine": machine, "rows": rows, "summary": summary}
    (RESULTS / "call.json").write_text(json.dumps(content, indent=1) + "\n")


def _plot(results: list[Result]) -> None:
    """Below 1 is faster: the overhead of a call over the echo, and the time of a call over that of each peer."""
    bars = [
        (f"{result.title} {shape}", _bar(ratio) if "echo" in result.rounds[shape] else 1 / ratio)
        for result in results
        for shape, ratio in result.ratios.items()
    ]
    label = "time of ours / time of the peer, or (call − core) / echo; below 1 is faster"
    ratio_bars([name for name, _ in bars], [ratio for _, ratio in bars], label, RESULTS / "call.png")


def _bar(overhead: float) -> float:
    """What the noise made negative has no place on the scale."""
    return overhead if overhead > 0 else math.nan


if __name__ == "__main__":
    sys.exit(main())
