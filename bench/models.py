"""Whole models against the libraries that run them: decoding, prefill, embedding, translation, and the first embedding.

Every system is a process of its own with two threads of arithmetic, peers in environments of their own; what is
compared runs in turn, one round each, on the same weights in float32 and the same tokens or texts. A ratio is the
median over the rounds of our rate by the peer's: above 1 ours is faster. Libraries that pad get batches of 16 texts of
like length. Run it with `make bench-models`; nothing else should run on the machine.
"""

import argparse
import json
import platform
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from model_figures import NAMES, STORY, Figure, figures
from model_first import first_embedding
from model_systems import ENVIRONMENTS, System, python, run_module, running
from plot import ratio_bars
from systems import BENCH, UnavailableError
from threadpoolctl import threadpool_info

from qkv_server.packaged_models import packaged_model
from qkv_server.transformers.files import read_model

ROUNDS = 5
RESULTS = Path(__file__).parent / "results"
STEADY = 1.5  # how many times as fast the fastest round of a system may be as its slowest
CLOSE = 1e-4  # how far elements of equal vectors may be apart


@dataclass(frozen=True, slots=True)
class Result:
    """A figure that was measured."""

    figure: Figure
    rates: Mapping[str, list[float]]  # of each round, by runner
    agreement: Mapping[str, str] = field(default_factory=dict)  # of what came of it with ours, by peer
    missing: Mapping[str, str] = field(default_factory=dict)  # why a peer was left out

    @property
    def rate(self) -> float:
        """Ours."""
        return float(np.median(self.rates["qkv"]))

    def ratio(self, peer: str) -> float:
        """How many times as fast as a peer we are."""
        return float(np.median(np.array(self.rates["qkv"]) / self.rates[peer]))

    def unsteady(self) -> list[str]:
        """The systems whose rounds differ so much that something else must have run.

        Libraries whose threads wait for each other by spinning lose multiples then, so that ratios would flatter us.
        """
        return [name for name, rates in self.rates.items() if max(rates) > STEADY * min(rates)]

    def line(self) -> str:
        """The line of the summary, without its name."""
        parts = [f"{self.rate:.0f} {self.figure.unit}"]
        for peer in self.figure.peers():
            told = f"{self.ratio(peer):.2f}" if peer in self.rates else f"not measured, {self.missing[peer]}"
            parts.append(f"vs {NAMES[peer]} {told}")
        if self.unsteady():
            parts.append(f"UNSTEADY ({', '.join(self.unsteady())}): measure again on an idle machine")
        return ", ".join(parts)


def main() -> int:
    """Measure every figure, print the table and the summary, and save both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", metavar="WORD", default="", help="figures whose name has this; nothing is saved")
    parser.add_argument("--peers-only", action="store_true", help="leave ours out; nothing is saved")
    options = parser.parse_args()
    models = _models()
    tokenizer = read_model(Path(models["smollm2"])).tokenizer
    chosen = [figure for figure in figures(tokenizer.encode(STORY * 4).ids) if options.only in figure.name]
    print(f"2 threads each; medians of {ROUNDS} rounds in turn\n", flush=True)
    results = [_measured(figure, models, ours=not options.peers_only) for figure in chosen]
    summary = {} if options.peers_only else _summary(results)
    first: Mapping[str, list[float]] = {}
    if options.only in "first embedding" and not options.peers_only:
        summary["first embedding"], first = first_embedding(models)
    if not options.only and not options.peers_only:
        _save(results, first, summary)
        _plot(results)
    print()
    for line, figure in summary.items():
        print(f"{line}: {figure}")
    return 0


def _models() -> dict[str, str]:
    """The paths of the models by name, some of them converted for peers; ends the program without the packages."""
    models = {}
    for name in ("smollm2", "minilm", "enpt"):
        path = packaged_model(name)
        if path is None:
            sys.exit(f"the package of {name} is not installed: `make models` does it")
        models[name] = str(path)
    converted = {
        "smollm2_float32": ("llama_cpp", "runners.float32_gguf", models["smollm2"], "smollm2-float32.gguf"),
        "smollm2_folder": ("hugging_face", "runners.float32_folder", models["smollm2"], "smollm2"),
        "minilm_onnx": ("hugging_face", "runners.minilm_graph", models["minilm"], "minilm.onnx"),
    }
    for name, (environment, module, source, file) in converted.items():
        try:
            target = python(environment).parent.parent / file
            if not target.exists():
                part = target.with_name(f"part-{file}")
                run_module(environment, module, source, str(part))
                part.rename(target)  # only what was made to its end
        except UnavailableError as error:
            print(f"  left out: {error}", flush=True)
            continue
        models[name] = str(target)
    return models


def _measured(figure: Figure, models: Mapping[str, str], *, ours: bool) -> Result:
    """The rounds of every system that can be had, in turn, after one round of each to warm up."""
    missing: dict[str, str] = {}
    with ExitStack() as stack:
        systems: dict[str, System] = {}
        for name in (("qkv",) if ours else ()) + figure.peers():
            try:
                systems[name] = stack.enter_context(running(name, models))
            except UnavailableError as error:
                if name == "qkv":
                    raise
                missing[name] = str(error)
        results = {name: system.round(figure.work)["result"] for name, system in systems.items()}
        rates: dict[str, list[float]] = {name: [] for name in systems}
        for _ in range(ROUNDS):
            for name, system in systems.items():
                rates[name].append(system.round(figure.work)["rate"])
    agreement = {name: _agreement(results["qkv"], results[name]) for name in systems if ours and name != "qkv"}
    told = ", ".join(f"{name} {np.median(all_):.1f}" for name, all_ in rates.items())
    same = "; ".join(f"{name}: {text}" for name, text in agreement.items())
    print(f"  {figure.name} ({figure.unit}): {told}   [{same}]", flush=True)
    return Result(figure, rates, agreement, missing)


def _agreement(ours: list[Any], theirs: list[Any]) -> str:
    """How much of what came of the work is the same: elements of a vector, tokens, or texts."""
    if isinstance(ours[0], float):
        apart = float(np.abs(np.array(ours) - np.array(theirs)).max())
        if apart > CLOSE:
            raise AssertionError(f"vectors are {apart:.1e} apart")
        return f"vectors {apart:.0e} apart"
    return f"{sum(a == b for a, b in zip(ours, theirs, strict=True))} of {len(ours)} the same"


def _summary(results: list[Result]) -> dict[str, str]:
    """The last lines, by name."""
    by_name = {result.figure.name: result for result in results}
    summary = {name: result.line() for name, result in by_name.items()}
    if {"decode 1", "decode 16"} <= set(by_name):
        ratio = by_name["decode 16"].rate / by_name["decode 1"].rate
        summary["decode 16"] += f", vs one stream {ratio:.2f}"
    return summary


def _save(results: list[Result], first: Mapping[str, list[float]], summary: dict[str, str]) -> None:
    RESULTS.mkdir(exist_ok=True)
    content = {
        "machine": _machine(),
        "figures": [
            {
                "name": result.figure.name,
                "unit": result.figure.unit,
                "rounds": result.rates,
                "ratios": {peer: result.ratio(peer) for peer in result.figure.peers() if peer in result.rates},
                "agreement": result.agreement,
                "unsteady": result.unsteady(),
            }
            for result in results
        ],
        "first_embedding": {"unit": "s", "rounds": first},
        "summary": summary,
    }
    (RESULTS / "models.json").write_text(json.dumps(content, indent=1) + "\n")


def _machine() -> dict[str, Any]:
    kernels = sorted({f"{info['internal_api']} {info.get('architecture', '')}" for info in threadpool_info()})
    peers = {
        name: (BENCH / "peers" / f"{name}.txt").read_text().split() for name in filter(None, ENVIRONMENTS.values())
    }
    return {"processor": platform.machine(), "kernels": kernels, "numpy": np.__version__, "peers": peers}


def _plot(results: list[Result]) -> None:
    pairs = [(result, peer) for result in results for peer in result.figure.peers() if peer in result.rates]
    names = [f"{result.figure.name} vs {NAMES[peer]}" for result, peer in pairs]
    label = "time of ours / time of the peer; below 1 is faster"
    ratio_bars(names, [1 / result.ratio(peer) for result, peer in pairs], label, RESULTS / "models.png")


if __name__ == "__main__":
    sys.exit(main())
