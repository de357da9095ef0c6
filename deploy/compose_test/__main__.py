"""Check the deployment, on the container engine that is there or on one of our own."""

import argparse
import fcntl
import os
import signal
import sys
import tempfile
from pathlib import Path

from compose_test import parts
from compose_test.checks import check
from compose_test.commands import CommandError, exit_status, run, say
from compose_test.isolation import run_isolated
from compose_test.project import Project


def main() -> int:
    """Run the command line; the exit status."""
    parser = argparse.ArgumentParser(prog="compose_test", description=__doc__)
    parser.add_argument("--own-engine", action="store_true", help="start an engine even if there is one (as root)")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that what is cleaned up is cleaned up
    parts.CACHE.mkdir(parents=True, exist_ok=True)
    with (parts.CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # one at a time: another waits
        return _on_own_engine() if options.own_engine or not _works("docker", "version") else _on_engine()


def _on_engine() -> int:
    """As users do: images come from registries, packages from PyPI."""
    say("using the engine that is there")
    plugin = _works("docker", "compose", "version")
    command = ("docker", "compose") if plugin else (str(parts.compose()),)
    with tempfile.TemporaryDirectory() as scratch:
        return check(Project(parts.ROOT, command, Path(scratch) / "models"))


def _on_own_engine() -> int:
    if sys.platform != "linux" or os.geteuid() != 0:
        raise CommandError("no container engine answers, and to start one takes root on Linux")
    os.environ["PATH"] += ":/usr/sbin:/sbin"  # where its programs are
    for name in ("DOCKER_HOST", "DOCKER_CONTEXT"):
        os.environ.pop(name, None)
    parts.install_engine()
    for part in (parts.compose, parts.envoy, parts.wheels, parts.base):
        part()  # while there is a network
    return run_isolated("compose_test.isolated")


def _works(*command: str) -> bool:
    try:
        run(*command)
    except CommandError:
        return False
    return True


if __name__ == "__main__":
    sys.exit(exit_status(main))
