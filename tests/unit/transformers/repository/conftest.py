"""A folder of text models, and repositories of it."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from qkv_server.transformers.repository.repository import Repository

from .text_models import Loading, Model, Opening, settle


@pytest.fixture
def load() -> Loading:
    return Loading()


@pytest.fixture
def opened(tmp_path: Path, load: Loading) -> Iterator[Opening]:
    """Opens repositories of tmp_path, whose first models have been loaded."""
    with ExitStack() as stack:

        def opening(budget: int | None = None, *, waiting: bool = True) -> Repository[Model]:
            repository = Repository(tmp_path, load, budget)
            stack.callback(repository.close)
            if waiting:
                settle(repository)
            return repository

        yield opening
        load.gate.set()
        load.slow.set()
