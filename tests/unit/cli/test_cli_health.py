"""`qkv health`: its exit status is what health checks of containers ask for."""

from collections.abc import Iterator

import pytest
from model_serving import FAILED
from serving import ServerProcess

from .conftest import Run, one_line


@pytest.fixture(scope="module")
def draining() -> Iterator[ServerProcess]:
    """A server that was told to end and drains for longer than the tests last."""
    server = ServerProcess(["--drain-seconds", "600"])
    server.terminate()
    server.wait_for("draining")
    yield server
    server.kill()


def test_a_serving_server_is_0(run: Run, server: ServerProcess) -> None:
    """A server that takes calls is SERVING, status 0."""
    ran = run("health")
    assert (ran.status, ran.out, ran.err) == (0, f"{server.address}: server is SERVING\n", "")


@pytest.mark.parametrize("service", ["qkv.v1.AttentionService", "liveness"])
def test_a_serving_service_is_0(service: str, run: Run, server: ServerProcess) -> None:
    """A service that takes calls is SERVING, status 0."""
    ran = run("health", service)
    assert (ran.status, ran.out, ran.err) == (0, f"{server.address}: {service} is SERVING\n", "")


def test_a_model_is_a_service(ask: Run) -> None:
    """A model that is ready is SERVING, status 0, and one that failed is not, status 1; --help says the name."""
    assert ask("health", "qkv.v1.ModelService/bert").status == 0
    ran = ask("health", f"qkv.v1.ModelService/{FAILED}")
    assert (ran.status, ran.out.partition(": ")[2]) == (1, f"qkv.v1.ModelService/{FAILED} is NOT_SERVING\n")
    assert "qkv.v1.ModelService/minilm" in ask("health", "--help").out


def test_a_draining_server_is_1(run: Run, draining: ServerProcess) -> None:
    """A server that drains is NOT_SERVING, status 1, which is an answer and no error."""
    ran = run("health", "--target", draining.address)
    assert (ran.status, ran.out, ran.err) == (1, f"{draining.address}: server is NOT_SERVING\n", "")


def test_a_draining_server_lives(run: Run, draining: ServerProcess) -> None:
    """Its liveness is SERVING still, status 0."""
    ran = run("health", "liveness", "--target", draining.address)
    assert (ran.status, ran.out) == (0, f"{draining.address}: liveness is SERVING\n")


def test_an_unknown_service_is_1(run: Run, server: ServerProcess) -> None:
    """A service that the server does not have is named, status 1."""
    assert one_line(run("health", "nope")) == f"{server.address}: this server has no service 'nope'"
