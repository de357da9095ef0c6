"""Tries the clients in every language: each is built, run once, asked of models, and put to one suite of test vectors.

    go: built in 12 s
    go: minilm and smollm2 answer as in Python
    go: 353 passed, 0 failed

`make languages` runs it, with tiny models where the packaged ones are not installed. What the tools say is shown when
they fail, and else kept in logs/. A language whose tools are missing is skipped by name; where the variable CI is true
that is a failure.
"""

# ruff: noqa: T201 - a command prints

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from languages.models import Answers, server_of_models

from qkv.cli.main import main as qkv

EXAMPLES = Path(__file__).parents[2] / "examples"
LOGS = Path(__file__).parent / "logs"
TOOLS: Mapping[str, Sequence[str]] = {  # what each language needs besides make
    "go": ("go",),
    "java": ("java", "javac", "mvn"),
    "node": ("node", "npm"),
    "rust": ("cargo", "cc"),
    "cpp": ("cmake", "c++", "protoc", "grpc_cpp_plugin"),
}


class FailedError(Exception):
    """A step of a language did not end well; the message says what it said."""


@dataclass(frozen=True)
class Language:
    """The example of a language, and where it says what it does."""

    name: str
    folder: Path
    log: Path

    def missing(self) -> list[str]:
        """The tools that are not there."""
        return [tool for tool in TOOLS[self.name] if shutil.which(tool) is None]

    def make(self, target: str, **variables: object) -> str:
        """What a target of its Makefile says; raises FailedError if it fails."""
        assigned = [f"{name}={value}" for name, value in variables.items()]
        command = ["make", "--directory", str(self.folder), "--no-print-directory", target, *assigned]
        # The make that calls us speaks to the ones it calls by variables, which are not for this one.
        environment = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL")}
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False, env=environment)
        said = done.stdout.decode("utf-8", "replace")  # a text of a model has line ends of its own
        with self.log.open("a", encoding="utf-8") as log:
            log.write(f"$ make {' '.join((target, *assigned))}\n{said}")
        if done.returncode != 0:
            raise FailedError(f"{said}make {target} ended with status {done.returncode}")
        return said


@dataclass(frozen=True)
class Suite:
    """What every language is put to: a server, its test vectors, and what its models answer."""

    target: str
    vectors: Path
    answers: Answers


def main(arguments: Sequence[str]) -> int:
    """Start a server, have it make the suite, and try the languages; the exit status is 0 if none failed."""
    parser = argparse.ArgumentParser(prog="make languages", description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--only", nargs="+", choices=TOOLS, default=list(TOOLS), metavar="LANG", help=", ".join(TOOLS))
    chosen = parser.parse_args(arguments).only
    with tempfile.TemporaryDirectory() as vectors, server_of_models() as server:
        status = qkv(["vectors", vectors, "--target", server.address])
        suite = Suite(server.address, Path(vectors), Answers.of(server.address))
        return status or try_all(chosen, suite)


def try_all(names: Sequence[str], suite: Suite, examples: Path = EXAMPLES, logs: Path = LOGS) -> int:
    """Try languages; 0 if none failed, and 1, after their names, if some did."""
    logs.mkdir(exist_ok=True)
    languages = [Language(name, examples / name, logs / f"{name}.log") for name in names]
    if failed := [language.name for language in languages if not passes(language, suite)]:
        print(f"failed: {', '.join(failed)}")
    return int(bool(failed))


def passes(language: Language, suite: Suite) -> bool:
    """Whether a language passes, or is skipped and may be."""
    name = language.name
    if missing := language.missing():
        print(f"{name}: skipped, needs {', '.join(missing)}", flush=True)
        return os.environ.get("CI") != "true"
    language.log.write_text("", encoding="utf-8")
    try:
        started = time.monotonic()
        language.make("build")
        print(f"{name}: built in {time.monotonic() - started:.0f} s", flush=True)
        language.make("run", TARGET=suite.target)
        said = language.make("models", TARGET=suite.target, OPTIONS="--vectors")
        if differences := "\n".join(suite.answers.differences(said)):
            raise FailedError(differences)
        print(f"{name}: {' and '.join(suite.answers.models)} answer as in Python", flush=True)
        said = language.make("conformance", TARGET=suite.target, VECTORS=suite.vectors)
        cases = len(json.loads((suite.vectors / "manifest.json").read_text("utf-8"))["cases"])
        last = said.splitlines()[-1:]
        if last != [f"{name}: {cases} passed, 0 failed"]:
            raise FailedError(f"{said}conformance did not end with `{name}: {cases} passed, 0 failed`")
        print(last[0], flush=True)
    except FailedError as error:
        print(f"{_indented(str(error))}\n{name}: failed", flush=True)
        return False
    return True


def _indented(text: str) -> str:
    return re.sub(r"^", "  ", text, flags=re.MULTILINE)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
