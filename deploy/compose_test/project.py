"""The compose project under test: its image, its containers, and where they are published."""

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from compose_test.commands import run

NAME = "qkv-compose-test"  # not the users' own project, which may be up
IMAGE = "qkv:compose-test"
GRPC, WEB, ENVOY = "QKV_PORT", "QKV_WEB_PORT", "QKV_ENVOY_PORT"


class Project:
    """A folder with docker-compose.yml, the command that reads it, and the folder of its models."""

    def __init__(self, folder: Path, command: tuple[str, ...], models: Path) -> None:
        self._command = (*command, "--project-directory", str(folder), "--project-name", NAME)
        self.models = models
        self.ports = dict(zip((GRPC, WEB, ENVOY), _free_ports(3), strict=True))

    def compose(self, *arguments: str) -> str:
        """What `docker compose` prints."""
        variables = {name: str(port) for name, port in self.ports.items()}
        variables |= {"QKV_IMAGE": IMAGE, "QKV_MODELS": str(self.models)}
        return run(*self._command, *arguments, environment=variables)

    def containers(self, *services: str) -> list[str]:
        """The containers of services, ended ones too."""
        return sorted(self.compose("--profile", "scale", "ps", "--all", "--quiet", *services).split())

    def address(self, service: str) -> str:
        """Where a service is published on this machine, by the name of its variable."""
        return f"127.0.0.1:{self.ports[service]}"

    def down(self) -> None:
        """Remove whatever compose made, of this run or of one that was ended."""
        self.compose("--profile", "scale", "down", "--volumes", "--remove-orphans")

    def said(self) -> str:
        """The end of what every container said, and what its health check found."""
        health = [str(inspect(container)["State"].get("Health")) for container in self.containers()]
        return "\n".join((self.compose("--profile", "scale", "logs", "--tail", "20"), *health))

    def left(self) -> list[str]:
        """What there still is of the project."""
        mine = f"--filter=label=com.docker.compose.project={NAME}"
        kinds = (("ps", "--all"), ("network", "ls"), ("volume", "ls"))
        return [thing for kind in kinds for thing in run("docker", *kind, "--quiet", mine).split()]


def inspect(container: str) -> dict[str, Any]:
    """What the engine knows of a container."""
    (known,) = json.loads(run("docker", "inspect", container))
    return dict(known)


def ip_address(container: str) -> str:
    """The address of a container in the project's network."""
    (network,) = inspect(container)["NetworkSettings"]["Networks"].values()
    return str(network["IPAddress"])


@contextmanager
def running(*arguments: str) -> Iterator[str]:
    """A container of the image alone, by `docker run`."""
    container = run("docker", "run", "--detach", *arguments, IMAGE)
    try:
        yield container
    finally:
        run("docker", "rm", "--force", container)


def _free_ports(count: int) -> list[int]:
    with_ports = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [bound.getsockname()[1] for bound in with_ports]
    for bound in with_ports:
        bound.close()
    return ports
