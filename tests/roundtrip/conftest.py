"""The calls of the generated stub, for tests that send messages as any language would."""

from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from model_serving import Both
from refusals import Attend, attend_of
from serving import ServerProcess

import qkv
from qkv.v1 import attention_pb2_grpc


@pytest.fixture(scope="session")
def channel(client: qkv.Client) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(client.target) as connected:
        yield connected


@pytest.fixture(scope="session")
def attend(channel: grpc.Channel) -> Attend:
    return attend_of(channel)


@pytest.fixture(scope="session")
def stub(channel: grpc.Channel) -> Any:
    make: Any = attention_pb2_grpc.AttentionServiceStub
    return make(channel)


@pytest.fixture(params=["blocking", "asyncio"])
def ask(request: pytest.FixtureRequest, model_server: ServerProcess) -> Both:
    """Asks the tiny models by one of the clients."""
    return Both(model_server.address, awaited=request.param == "asyncio")
