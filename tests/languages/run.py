"""Puts one suite of test vectors to the clients in every language: each is built, run once, and run through the suite.

    go: built in 12 s
    go: 353 passed, 0 failed

`make languages` runs it. What the tools say is shown when they fail, and else kept in logs/. A language whose tools are
missing is skipped by name; where the variable CI is true that is a failure.
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

from serving import ServerProcess

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
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, env=environment
        )
        with self.log.open("a", encoding="utf-8") as log:
            log.write(f"$ make {' '.join((target, *assigned))}\n{done.stdout}")
        if done.returncode != 0:
            raise FailedError(f"{done.stdout}make {target} ended with status {done.returncode}")
        return done.stdout


def main(arguments: Sequence[str]) -> int:
    """Start a server, have it make the suite, and try the languages; the exit status is 0 if none failed."""
    parser = argparse.ArgumentParser(prog="make languages", description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--only", nargs="+", choices=TOOLS, default=list(TOOLS), metavar="LANG", help=", ".join(TOOLS))
    chosen = parser.parse_args(arguments).only
    with tempfile.TemporaryDirectory() as folder, ServerProcess() as server:
        vectors = Path(folder) / "vectors"
        status = qkv(["vectors", str(vectors), "--target", server.address])
        return status or try_all(chosen, server.address, vectors)


def try_all(names: Sequence[str], target: str, vectors: Path, examples: Path = EXAMPLES, logs: Path = LOGS) -> int:
    """Try languages against a server; 0 if none failed, and 1, after their names, if some did."""
    logs.mkdir(exist_ok=True)
    languages = [Language(name, examples / name, logs / f"{name}.log") for name in names]
    if failed := [language.name for language in languages if not passes(language, target, vectors)]:
        print(f"failed: {', '.join(failed)}")
    return int(bool(failed))


def passes(language: Language, target: str, vectors: Path) -> bool:
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
        language.make("run", TARGET=target)
        said = language.make("conformance", TARGET=target, VECTORS=vectors)
        cases = len(json.loads((vectors / "manifest.json").read_text("utf-8"))["cases"])
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
