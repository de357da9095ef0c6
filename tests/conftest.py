"""What every kind of test may use: a running server and a client of it."""

from collections.abc import Iterator

import pytest
from serving import ServerProcess

import qkv


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
