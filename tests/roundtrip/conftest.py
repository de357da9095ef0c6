"""The call of the generated stub, for tests that send messages as any language would."""

from collections.abc import Iterator

import grpc
import pytest
from refusals import Attend, attend_of

import qkv


@pytest.fixture(scope="session")
def attend(client: qkv.Client) -> Iterator[Attend]:
    with grpc.insecure_channel(client.target) as channel:
        yield attend_of(channel)
