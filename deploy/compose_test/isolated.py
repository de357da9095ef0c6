"""What runs in the namespaces: an engine, its base image, the project as that engine can build it, and the checks."""

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from compose_test import parts
from compose_test.checks import check
from compose_test.commands import CommandError, exit_status, run, say
from compose_test.isolation import CGROUP
from compose_test.project import Project

BASE = "python:3.11-slim-bookworm"
BARE = Path(__file__).parent / "bare"
PROJECT = Path("/run/project")
MODELS = Path("/run/models")
START_SECONDS = 60
STOP_SECONDS = 60


def main() -> int:
    """Check the deployment on an engine of our own; the exit status."""
    run("mount", "-t", "tmpfs", "tmpfs", "/run")  # sockets and pid files go with the namespace
    run("ip", "link", "set", "lo", "up")
    PROJECT.mkdir()
    additions = shutil.copytree(BARE, "/run/bare")  # no layer may be within another
    layers = (additions, parts.wheels(), parts.envoy(), parts.ROOT)  # the first is on top
    run("mount", "-t", "overlay", "overlay", "-o", f"lowerdir={':'.join(map(str, layers))}", PROJECT)
    with _engine():
        if not run("docker", "images", "--quiet", BASE):
            python = "ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
            run("docker", "import", "--change", python, parts.base(), BASE)
        return check(Project(PROJECT, (str(parts.compose()),), MODELS))


@contextmanager
def _engine() -> Iterator[None]:
    """Docker's engine, for as long as it is needed. Its images and its build cache stay for the next time."""
    say("starting an engine")
    log = parts.CACHE / "dockerd.log"
    settings = Path("/run/daemon.json")
    settings.write_text(
        json.dumps(
            {
                "data-root": str(parts.CACHE / "engine"),
                "exec-opts": ["native.cgroupdriver=cgroupfs"],  # systemd does not look into namespaces
                "cgroup-parent": f"/{CGROUP}",
                "builder": {"gc": {"enabled": True, "defaultKeepStorage": "2GB"}},
            }
        )
    )
    command = ("dockerd", f"--config-file={settings}")
    with log.open("w") as output, subprocess.Popen(command, stdout=output, stderr=output) as engine:
        try:
            _wait_for(engine, log)
            yield
        finally:
            engine.terminate()
            try:
                engine.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                engine.kill()


def _wait_for(engine: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            run("docker", "version")
        except CommandError:
            if engine.poll() is not None or time.monotonic() > deadline:
                raise CommandError(f"dockerd did not start:\n{log.read_text()[-4000:]}") from None
            time.sleep(0.2)
        else:
            return


if __name__ == "__main__":
    sys.exit(exit_status(main))
