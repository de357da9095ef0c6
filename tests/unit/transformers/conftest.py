"""What several tests of generation use."""

import threading
from collections.abc import Iterator

import pytest

from .echo_model import EchoModel


@pytest.fixture
def held() -> Iterator[EchoModel]:
    """A model whose calls wait until the test lets them go on, by `turns`."""
    model = EchoModel()
    model.turns = threading.Semaphore(0)
    yield model
    model.turns.release(10_000)
