"""The core against PyTorch's scaled_dot_product_attention on the CPU, shape by shape, in one process.

Both sides get two threads; ours is one BLAS thread on each of two. Ratios below 1 mean that ours is faster. Without
PyTorch the peer is the plain NumPy formula. Run it with `make bench-core`; nothing else should run on the machine.
"""

import argparse
import json
import platform
import sys
import tracemalloc
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import core_peers
import numpy as np
from core_cases import Case, cases
from measure import Comparison, compare, geometric_mean, median_seconds
from plot import ratio_bars
from threadpoolctl import threadpool_info, threadpool_limits

from qkv import tune_allocator
from qkv_server import core

THREADS = 2
RESULTS = Path(__file__).parent / "results"
MEMORY_LENGTHS = (16384, 32768, 65536, 131072)
MEMORY_WINDOW = 1024
SGEMM_SIZE = 2048
LONG = 2048  # queries from which on the rate of arithmetic is told


@dataclass(frozen=True, slots=True)
class Row:
    """A case that was measured."""

    case: Case
    comparison: Comparison
    path: str
    predicted: float  # seconds, by the cost model

    @property
    def error(self) -> float:
        """Of the prediction, as a part of what was measured."""
        return abs(self.predicted / self.comparison.ours - 1)

    @property
    def full_and_long(self) -> bool:
        """Whether every pair of many is computed."""
        return self.case.kind == "dense" and not self.case.visibility.causal and self.case.query.shape[2] >= LONG


def main() -> int:
    """Run every case, print the table and the summary, and save both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", metavar="KIND", help="dense, structured, decode or gradients; nothing is saved")
    only = parser.parse_args().only
    kernels = ", ".join(
        sorted({f"{info['internal_api']} {info.get('architecture', '')}" for info in threadpool_info()})
    )
    print(
        f"NumPy {np.__version__} ({kernels}) against {core_peers.version()}, {THREADS} threads each; "
        "medians of interleaved rounds\n"
    )
    tune_allocator()  # as the server does: two threads wait for each other where memory is given back and taken again
    sgemm = _sgemm_rate()
    threadpool_limits(1, user_api="blas")
    rates = core.Rates.measure()
    print(f"{'':10} {'shape':34} {'ours':>10} {'predicted':>10} {'peer':>10} {'ratio':>7}  path")
    with ThreadPoolExecutor(THREADS) as executor:
        spread = core.spread_over(executor, THREADS - 1)
        rows = list(_rows((case for case in cases() if only in (None, case.kind)), spread, rates))
        memory = [] if only else [(length, _memory_above_answer(length, spread)) for length in MEMORY_LENGTHS]
    for length, peak in memory:
        print(
            f"memory     {length} queries and keys, window {MEMORY_WINDOW}: {peak / 1e6:.1f} MB above inputs and output"
        )
    summary = _summary(rows, memory, sgemm)
    if not only:
        _save(kernels, rows, memory, summary)
        names = [f"{row.case.kind} {row.case.name}" for row in rows]
        label = f"time of ours / time of {core_peers.NAME}; below 1 is faster"
        ratio_bars(names, [row.comparison.ratio for row in rows], label, RESULTS / "core.png")
    print()
    for line, figure in summary.items():
        print(f"{line}: {figure:.2f}" if isinstance(figure, float) else f"{line}: {figure}")
    return 0


def _rows(chosen: Iterable[Case], spread: core.Spread, rates: core.Rates) -> Iterable[Row]:
    for case in chosen:
        ours, theirs = case.ours(spread, THREADS), core_peers.theirs(case, THREADS)
        if theirs is None:
            print(f"{case.kind:10} {case.name:34} {core_peers.NAME} cannot")
            continue
        for mine, other in zip(ours(), theirs(), strict=True):
            np.testing.assert_allclose(mine, other, rtol=1e-4, atol=1e-4, err_msg=case.name)
        row = Row(case, compare(ours, theirs), case.path(THREADS), case.predicted(THREADS, rates))
        yield row
        print(
            f"{case.kind:10} {case.name:34} {row.comparison.ours * 1e3:7.2f} ms {row.predicted * 1e3:7.2f} ms"
            f" {row.comparison.peer * 1e3:7.2f} ms {row.comparison.ratio:7.2f}  {row.path}",
            flush=True,
        )


def _summary(rows: list[Row], memory: list[tuple[int, int]], sgemm: float) -> dict[str, Any]:
    """The last lines, by name."""
    ratios: dict[str, list[float]] = {}
    for row in rows:
        ratios.setdefault(row.case.kind, []).append(row.comparison.ratio)
    rates = [row.case.flops / row.comparison.ours / sgemm for row in rows if row.full_and_long]
    summary: dict[str, Any] = {}
    if rates:
        summary["sgemm rate"] = f"{sgemm / 1e9:.0f} GF/s"
        summary[f"of it from L = {LONG} on"] = ", ".join(f"{rate:.0%}" for rate in rates)
    if "gradients" in ratios:
        summary[f"gradients geomean vs {core_peers.NAME}"] = geometric_mean(ratios["gradients"])
        summary["worst gradients"] = max(ratios["gradients"])
    if "dense" in ratios:
        summary[f"dense geomean vs {core_peers.NAME}"] = geometric_mean(ratios["dense"])
        summary["worst dense"] = max(ratios["dense"])
    structured = [row for row in rows if row.case.kind == "structured"]
    if structured:
        speed_ups = (f"{row.case.name} {1 / row.comparison.ratio:.1f}" for row in structured)
        summary["structured speed-ups"] = ", ".join(speed_ups)
    if "decode" in ratios:
        summary[f"decode geomean vs {core_peers.NAME}"] = geometric_mean(ratios["decode"])
    if memory:
        lengths, peaks = np.log(np.array(memory, dtype=np.float64)).T
        summary["memory exponent"] = float(np.polyfit(lengths, peaks, 1)[0])
    if rows:
        worst = max(rows, key=lambda row: row.error)
        median = np.median([row.error for row in rows])
        named = f"{worst.case.kind} {worst.case.name}"
        summary["cost model"] = f"median error {median:.0%}, worst {worst.error:.0%} ({named})"
    return summary


def _sgemm_rate() -> float:
    """Floating-point operations a second of NumPy's product of two large matrices, on as many BLAS threads."""
    a, b = np.random.default_rng(0).standard_normal((2, SGEMM_SIZE, SGEMM_SIZE), dtype=np.float32)
    with threadpool_limits(THREADS, user_api="blas"):
        seconds = median_seconds(lambda: np.matmul(a, b), 9)
    return float(2 * SGEMM_SIZE**3 / seconds)


def _memory_above_answer(length: int, spread: core.Spread) -> int:
    """The peak of what is allocated while one head of this length is computed, less the output."""
    operands = np.random.default_rng(0).standard_normal((3, 1, 1, length, 64), dtype=np.float32)
    visibility = core.Visibility(causal=True, window_left=MEMORY_WINDOW)
    problem = core.Problem(query=operands[0], key=operands[1], value=operands[2], visibility=visibility)
    tracemalloc.start()
    answer = core.solve(problem, core.check(problem), spread, THREADS)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak - answer.output.nbytes


def _save(kernels: str, rows: list[Row], memory: list[tuple[int, int]], summary: dict[str, Any]) -> None:
    RESULTS.mkdir(exist_ok=True)
    machine = {
        "processor": platform.machine(),
        "kernels": kernels,
        "numpy": np.__version__,
        "peer": core_peers.version(),
    }
    content = {
        "machine": machine,
        "rows": [
            {"kind": row.case.kind, "name": row.case.name, "path": row.path, "predicted": row.predicted}
            | asdict(row.comparison)
            for row in rows
        ],
        "memory": [{"length": length, "bytes": peak} for length, peak in memory],
        "summary": summary,
    }
    (RESULTS / "core.json").write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
