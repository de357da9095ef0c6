"""The core against PyTorch's scaled_dot_product_attention on the CPU, shape by shape, in one process.

Both sides get two threads; ours is one BLAS thread on each of two. Ratios below 1 mean that ours is faster. Without
PyTorch the peer is the plain NumPy formula. Run it with `make bench-core`; nothing else should run on the machine.
"""

import json
import platform
import sys
import tracemalloc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from measure import Comparison, compare, geometric_mean
from threadpoolctl import threadpool_info, threadpool_limits

from qkv_server import core

try:
    import torch
except ImportError:
    torch = None

Array = npt.NDArray[Any]

THREADS = 2
RESULTS = Path(__file__).parent / "results"

DENSE = (  # B, H, L, D
    (1, 8, 64, 64),
    (1, 8, 128, 64),
    (1, 8, 256, 64),
    (1, 8, 512, 64),
    (8, 12, 128, 64),
    (1, 12, 1024, 64),
    (1, 8, 2048, 64),
    (1, 8, 4096, 128),
    (1, 2, 8192, 64),
)
GROUPED = ((1, 8, 2, 1024, 64), (1, 32, 8, 512, 128))  # B, Hq, Hkv, L, D
DECODE_KEYS = (1024, 4096, 16384, 65536)  # one query of 32 heads over 8 key and value heads of 128
WINDOWED = (1, 2, 8192, 64)
WINDOW = 256
MEMORY_LENGTHS = (16384, 32768, 65536, 131072)
MEMORY_WINDOW = 1024


@dataclass(frozen=True, slots=True)
class Case:
    """One row of the table: a name, a kind, and a call with its visibility."""

    kind: str
    name: str
    query: Array
    key: Array
    value: Array
    visibility: core.Visibility
    mask: Array | None = None  # what the peer needs to see the same

    @property
    def problem(self) -> core.Problem:
        """The call as the core takes it."""
        return core.Problem(query=self.query, key=self.key, value=self.value, visibility=self.visibility)


def main() -> int:
    """Run every case, print the table and the summary, and save both."""
    threadpool_limits(1, user_api="blas")
    peer = _torch_peer if torch is not None else _plain_peer
    name = f"torch {torch.__version__}" if torch is not None else "plain NumPy (PyTorch is not installed)"
    kernels = ", ".join(
        sorted({f"{info['internal_api']} {info.get('architecture', '')}" for info in threadpool_info()})
    )
    print(f"NumPy {np.__version__} ({kernels}) against {name}, {THREADS} threads each; medians of interleaved rounds\n")
    print(f"{'':10} {'shape':34} {'ours':>10} {'peer':>10} {'ratio':>7}  path")
    rows = []
    with ThreadPoolExecutor(THREADS) as executor:
        spread = core.spread_over(executor, THREADS - 1)
        for case in _cases():
            comparison, path = _run(case, spread, peer)
            rows.append((case, comparison, path))
            print(
                f"{case.kind:10} {case.name:34} {comparison.ours * 1e3:7.2f} ms {comparison.peer * 1e3:7.2f} ms"
                f" {comparison.ratio:7.2f}  {path}",
                flush=True,
            )
        memory = [(length, _memory_above_answer(length, spread)) for length in MEMORY_LENGTHS]
    for length, peak in memory:
        print(
            f"memory     {length} queries and keys, window {MEMORY_WINDOW}: {peak / 1e6:.1f} MB above inputs and output"
        )
    against = "torch" if torch is not None else "plain NumPy"
    lengths, peaks = np.log(np.array(memory, dtype=np.float64)).T
    exponent = float(np.polyfit(lengths, peaks, 1)[0])
    ratios = {kind: [c.ratio for case, c, _ in rows if case.kind == kind] for kind in ("dense", "decode", "windowed")}
    summary = {
        f"dense geomean vs {against}": geometric_mean(ratios["dense"]),
        "worst dense": max(ratios["dense"]),
        "structured speed-ups": [round(1 / ratio, 2) for ratio in ratios["windowed"]],
        f"decode geomean vs {against}": geometric_mean(ratios["decode"]),
        "memory exponent": exponent,
    }
    _save(name, kernels, rows, memory, summary)
    _plot(rows, against)
    print()
    for line, figure in summary.items():
        print(f"{line}: {figure:.2f}" if isinstance(figure, float) else f"{line}: window {figure}")
    return 0


def _cases() -> list[Case]:
    generator = np.random.default_rng(0)

    def case(
        kind: str,
        name: str,
        query: tuple[int, ...],
        kv: tuple[int, ...],
        visibility: core.Visibility | None = None,
        mask: Array | None = None,
    ) -> Case:
        operands = [generator.standard_normal(shape, dtype=np.float32) for shape in (query, kv, kv)]
        return Case(kind, name, operands[0], operands[1], operands[2], visibility or core.Visibility(), mask)

    cases = []
    for shape in DENSE:
        cases.append(case("dense", f"{shape}", shape, shape))
        cases.append(case("dense", f"{shape} causal", shape, shape, core.Visibility(causal=True)))
    for batch, heads, kv_heads, length, size in GROUPED:
        query, kv = (batch, heads, length, size), (batch, kv_heads, length, size)
        cases.append(case("dense", f"{query} over {kv_heads}", query, kv))
    everything = np.ones((WINDOWED[2],) * 2, bool)
    band = np.tril(everything) & ~np.tril(everything, -WINDOW - 1)
    window = core.Visibility(causal=True, window_left=WINDOW)
    cases.append(case("windowed", f"{WINDOWED} window {WINDOW}", WINDOWED, WINDOWED, window, band))
    decode = [
        case("decode", f"1 query, {keys} keys, 32 over 8 heads", (1, 32, 1, 128), (1, 8, keys, 128))
        for keys in DECODE_KEYS
    ]
    return cases + decode


def _run(case: Case, spread: core.Spread, peer: Callable[[Case], Callable[[], Array]]) -> tuple[Comparison, str]:
    def ours() -> core.Answer:
        problem = case.problem
        return core.solve(problem, core.check(problem), spread, THREADS)

    theirs = peer(case)
    answer = ours()
    np.testing.assert_allclose(answer.output, theirs(), rtol=1e-4, atol=1e-5, err_msg=case.name)
    return compare(ours, theirs), answer.path.value


def _torch_peer(case: Case) -> Callable[[], Array]:
    """PyTorch's own choice of kernel, without gradients."""
    torch.set_num_threads(THREADS)
    torch.set_grad_enabled(False)
    query, key, value = (torch.from_numpy(array) for array in (case.query, case.key, case.value))
    mask = None if case.mask is None else torch.from_numpy(case.mask)
    causal = mask is None and case.visibility.causal
    grouped = query.shape[1] != key.shape[1]
    attention = torch.nn.functional.scaled_dot_product_attention

    def run() -> Array:
        answer: Array = attention(query, key, value, attn_mask=mask, is_causal=causal, enable_gqa=grouped).numpy()
        return answer

    return run


def _plain_peer(case: Case) -> Callable[[], Array]:
    """The formula on whole arrays, as one writes it in NumPy."""
    groups = case.query.shape[1] // case.key.shape[1]
    key, value = (np.repeat(array, groups, axis=1) for array in (case.key, case.value))
    mask = case.mask
    if mask is None and case.visibility.causal:
        mask = np.tril(np.ones((case.query.shape[2], key.shape[2]), bool))

    def run() -> Array:
        scores = case.query @ key.swapaxes(-1, -2) / np.float32(np.sqrt(key.shape[-1]))
        if mask is not None:
            scores = np.where(mask, scores, -np.inf)
        weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
        answer: Array = weights @ value / weights.sum(axis=-1, keepdims=True)
        return answer

    return run


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


def _save(peer: str, kernels: str, rows: list[Any], memory: list[Any], summary: dict[str, Any]) -> None:
    RESULTS.mkdir(exist_ok=True)
    content = {
        "machine": {"processor": platform.machine(), "kernels": kernels, "numpy": np.__version__, "peer": peer},
        "rows": [
            {"kind": case.kind, "name": case.name, "path": path} | asdict(comparison) for case, comparison, path in rows
        ],
        "memory": [{"length": length, "bytes": peak} for length, peak in memory],
        "summary": summary,
    }
    (RESULTS / "core.json").write_text(json.dumps(content, indent=1) + "\n")


def _plot(rows: list[tuple[Case, Comparison, str]], against: str) -> None:
    """The ratios as bars, on a scale where twice as fast and twice as slow are as far from 1."""
    figure = Figure(figsize=(9, 0.3 * len(rows) + 1), layout="constrained")
    axes = figure.subplots()
    names = [f"{case.kind} {case.name}" for case, _, _ in rows]
    ratios = [comparison.ratio for _, comparison, _ in rows]
    colors = ["tab:green" if ratio <= 1 else "tab:gray" for ratio in ratios]
    axes.barh(names, [ratio - 1 for ratio in ratios], left=1, color=colors)
    axes.axvline(1, color="black", linewidth=1)
    axes.set_xscale("log", base=2)
    axes.set_xlabel(f"time of ours / time of {against}; below 1 is faster")
    axes.invert_yaxis()
    figure.savefig(RESULTS / "core.png", dpi=120)


if __name__ == "__main__":
    sys.exit(main())
