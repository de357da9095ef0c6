"""How long a process takes to its first embedding, everything included: interpreter, imports, model, text."""

import json
import subprocess
import time
from collections.abc import Mapping

import numpy as np
from model_figures import NAMES
from model_systems import ENVIRONMENTS, python, variables
from systems import BENCH, UnavailableError

ROUNDS = 5
PEERS = ("sentence_transformers", "onnxruntime")
TEXT = "I love bears."


def first_embedding(models: Mapping[str, str]) -> tuple[str, dict[str, list[float]]]:
    """The line of the summary, and the seconds of each round by runner; in turn, after a round to warm up disks."""
    seconds: dict[str, list[float]] = {}
    missing: dict[str, str] = {}
    for number in range(ROUNDS + 1):
        for name in ("qkv", *PEERS):
            if name in missing:
                continue
            try:
                took = _seconds(name, models)
            except UnavailableError as error:
                missing[name] = str(error)
                continue
            if number:
                seconds.setdefault(name, []).append(took)
    medians = {name: float(np.median(all_)) for name, all_ in seconds.items()}
    parts = [f"{medians['qkv']:.2f} s"]
    parts += [f"{NAMES[peer]} {medians[peer]:.2f} s" for peer in PEERS if peer in medians]
    return ", ".join(parts), seconds


def _seconds(name: str, models: Mapping[str, str]) -> float:
    """From the start of the process to its first line."""
    command = [str(python(ENVIRONMENTS[name])), "-m", "runners.first", name, json.dumps(models), TEXT]
    start = time.perf_counter()
    with subprocess.Popen(  # noqa: S603 - our own command
        command, cwd=BENCH, env=variables(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout is not None  # noqa: S101 - for mypy: it is a pipe
        line = process.stdout.readline()
        took = time.perf_counter() - start
    if line != "ready\n":
        raise UnavailableError(f"{name} ended without an embedding")
    return took
