"""The calls of the generated stub, for tests that send messages as any language would."""

from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from refusals import Attend, attend_of

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
