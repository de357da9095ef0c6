"""The wheels in environments that have nothing else, on every Python that the project promises and the machine has."""

import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from python_discovery import get_interpreter

ROOT = Path(__file__).parents[2]
VERSION = tomllib.loads((ROOT / "client" / "pyproject.toml").read_text())["project"]["version"]
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
PYENV = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))

# What `import qkv` takes along, and how long it takes.
IMPORT = """
import json, sys, time
before = set(sys.modules)
started = time.perf_counter()
import qkv
seconds = time.perf_counter() - started
modules = {name.partition(".")[0] for name in set(sys.modules) - before} - set(sys.stdlib_module_names)
print(json.dumps({"seconds": seconds, "modules": sorted(modules), "file": qkv.__file__}))
"""

LOCAL = """
import json, numpy, qkv
x = numpy.array([[0.5, 0.8, 0.2, 0.6], [0.7, 0.1, 0.9, 0.3], [0.4, 0.6, 0.3, 0.8]])
with qkv.local(timeout=60) as client:
    print(json.dumps([client.attention(x, scale=1, outputs=["scores"]).scores.tolist(), (x @ x.T).tolist()]))
"""


def python(version: str) -> str | None:
    """The interpreter of a version: on PATH, or where pyenv keeps those that it does not show."""
    kept = map(str, PYENV.glob(f"versions/{version}.*/bin/python"))
    found = get_interpreter(f"cpython{version}", try_first_with=kept)
    return found.system_executable if found else None


PRESENT = {version: found for version in PYTHONS if (found := python(version))}


class Environment:
    """A virtual environment of its own, without pip: what is not installed into it is not there."""

    def __init__(self, folder: Path, interpreter: str) -> None:
        self._folder = folder
        subprocess.run([interpreter, "-I", "-m", "venv", "--without-pip", str(folder)], check=True)

    def command(self, name: str) -> str:
        """The path of a command in the environment."""
        return str(self._folder / "bin" / name)

    def pip(self, arguments: Sequence[str], environment: dict[str, str]) -> None:
        """Run the pip of the tests for this environment, as the machine configures it."""
        command = [sys.executable, "-m", "pip", "--python", self.command("python"), *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    def run(self, *command: str) -> "subprocess.CompletedProcess[str]":
        """Run a command of the environment, away from the tree and from what PYTHON… variables add."""
        clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        arguments = [self.command(command[0]), *command[1:]]
        return subprocess.run(arguments, cwd=self._folder, env=clean, capture_output=True, text=True, check=False)

    def python(self, program: str) -> str:
        """What a program prints that runs in the environment, where a warning is an error."""
        done = self.run("python", "-W", "error", "-c", program)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout


Install = Callable[[str, Sequence[str]], Environment]


@pytest.fixture(scope="module")
def install(tmp_path_factory: pytest.TempPathFactory, built: Path, constrained: dict[str, str]) -> Install:
    """Makes a clean environment of a Python and installs the wheels of the given packages."""

    def install(version: str, packages: Sequence[str]) -> Environment:
        if version not in PRESENT:
            pytest.skip(f"no Python {version} on this machine")
        environment = Environment(tmp_path_factory.mktemp("clean"), PRESENT[version])
        wheels = [str(wheel) for package in packages for wheel in built.glob(f"{package}-*.whl")]
        assert len(wheels) == len(packages)
        environment.pip(["install", *wheels], constrained)
        environment.pip(["check"], constrained)
        return environment

    return install


@pytest.fixture(scope="module", params=PYTHONS)
def client_alone(request: pytest.FixtureRequest, install: Install) -> Environment:
    return install(request.param, ["qkv"])


@pytest.fixture(scope="module", params=PYTHONS)
def with_server(request: pytest.FixtureRequest, install: Install) -> Environment:
    return install(request.param, ["qkv", "qkv_server"])


def test_a_python_is_present() -> None:
    """One of the promised Pythons is there, so that not all of these tests are skipped."""
    assert PRESENT


def test_importing_the_client_imports_little(
    client_alone: Environment, tell: Callable[[str], None], request: pytest.FixtureRequest
) -> None:
    """`import qkv` needs no server and imports what the client depends on, no more; the summary says how fast."""
    runs = [json.loads(client_alone.python(IMPORT)) for _ in range(5)]
    for run in runs:
        assert "site-packages" in run["file"]
        modules = {name for name in run["modules"] if "cython" not in name}  # what compiled modules share
        assert modules - {"typing_extensions"} == {"google", "grpc", "ml_dtypes", "numpy", "qkv"}
    best = min(run["seconds"] for run in runs)
    tell(f"import qkv: {best:.3f} s in Python {request.node.callspec.id}")


def test_a_local_client_without_a_server_says_what_to_install(client_alone: Environment) -> None:
    """`qkv.local()` is an ImportError that tells what to install."""
    done = client_alone.run("python", "-c", "import qkv; qkv.local()")
    assert done.returncode == 1
    assert done.stderr.endswith("\nImportError: qkv.local() runs a server in this process: pip install qkv-server\n")


def test_the_command_of_the_client_runs(client_alone: Environment) -> None:
    """`qkv` needs no server to say its version."""
    done = client_alone.run("qkv", "--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"qkv {VERSION}\n", "")


def test_the_command_of_the_server_runs(with_server: Environment) -> None:
    """`qkv-server` says its version."""
    done = with_server.run("qkv-server", "--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"qkv-server, version {VERSION}\n", "")


def test_a_local_client_is_answered(with_server: Environment) -> None:
    """With the server installed `qkv.local()` answers a call."""
    scores, by_hand = json.loads(with_server.python(LOCAL))
    assert scores == [pytest.approx(row, rel=1e-15) for row in by_hand]
