"""A server with both ports, for tests that only ask."""

from collections.abc import Iterator

import grpc
import pytest
from refusals import Attend, attend_of
from serving import ServerProcess
from web.asking import Web, web_address

import qkv

ORIGIN = "http://page.test"


@pytest.fixture(scope="session")
def both() -> Iterator[ServerProcess]:
    """A server of gRPC and HTTP, which pages of one origin may call."""
    with ServerProcess(["--web-address", "127.0.0.1:0", "--cors-origin", ORIGIN]) as running:
        yield running
        assert running.stop() == 0, running.log
    assert "Traceback" not in running.log


@pytest.fixture(scope="session")
def web(both: ServerProcess) -> Web:
    return Web(web_address(both))


@pytest.fixture(scope="session")
def models(model_server: ServerProcess) -> Web:
    """Plain HTTP to the server of the tiny models."""
    return Web(web_address(model_server))


@pytest.fixture(scope="session")
def by_grpc(both: ServerProcess) -> Iterator[qkv.Client]:
    """A client of the same server, over gRPC."""
    with qkv.Client(both.address) as connected:
        yield connected


@pytest.fixture(scope="session")
def attend(both: ServerProcess) -> Iterator[Attend]:
    """The call of the generated stub, over gRPC."""
    with grpc.insecure_channel(both.address) as channel:
        yield attend_of(channel)
