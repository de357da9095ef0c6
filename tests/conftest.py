"""What every kind of test may use: a running server and a client of it, and the same with models."""

from collections.abc import Iterator

import pytest
from model_serving import repository, serving_models
from serving import ServerProcess

import qkv
from qkv_server.packaged_models import PACKAGED, packaged_model


def pytest_report_header() -> str:
    """Which of the models that come as packages are there to be tested."""
    there = [name for name in PACKAGED if packaged_model(name) is not None]
    return f"packaged models: {', '.join(there) or 'none, their tests are skipped (make models)'}"


@pytest.fixture(scope="session")
def server() -> Iterator[ServerProcess]:
    """One server for all the tests that only ask; tests that change it start their own."""
    with ServerProcess() as running:
        yield running
        assert running.stop() == 0, running.log


@pytest.fixture(scope="session")
def client(server: ServerProcess) -> Iterator[qkv.Client]:
    with qkv.Client(server.address) as connected:
        yield connected


@pytest.fixture(scope="session")
def model_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """One server of the tiny models, over gRPC and HTTP, for all the tests that only ask."""
    folder = repository(tmp_path_factory.mktemp("models"))
    with serving_models(folder, "--web-address", "127.0.0.1:0") as running:
        yield running
        assert running.stop() == 0, running.log
    assert "Traceback" not in running.log


@pytest.fixture(scope="session")
def model_client(model_server: ServerProcess) -> Iterator[qkv.Client]:
    with qkv.Client(model_server.address, retries=False) as connected:
        yield connected
