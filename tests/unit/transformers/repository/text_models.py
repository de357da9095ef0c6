"""Models that are texts in files, and a repository of them as it stands."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from qkv_server.transformers.errors import ModelFileError
from qkv_server.transformers.repository.entry import Admit, LoadingError, State
from qkv_server.transformers.repository.repository import Repository


class Model:
    """A model that is the content of a file; its size is the number before the colon."""

    def __init__(self, content: str) -> None:
        self.content = content
        self.nbytes = int(content.partition(":")[0])
        self.closed = 0

    @property
    def description(self) -> str:
        return self.content

    def close(self) -> None:
        self.closed += 1


class Loading:
    """A `load` that notes what it made, and that can be held up."""

    def __init__(self) -> None:
        self.made: list[tuple[str, Model]] = []
        self.peak = 0  # of the bytes in memory at once
        self.gate = threading.Event()
        self.gate.set()
        self.slow = threading.Event()  # until when those of slow content take
        self.begun = threading.Event()

    def __call__(self, name: str, path: Path, admit: Admit) -> Model:
        self.begun.set()
        assert self.gate.wait(30)
        content = (path / "model").read_text()
        if content.startswith("broken"):
            raise ModelFileError(path / "config.json", content)
        if content.startswith("defect"):
            raise ZeroDivisionError(content)
        if content.endswith("slow"):
            assert self.slow.wait(30)
        model = Model(content)
        admit(model.nbytes)
        self.made.append((name, model))
        self.peak = max(self.peak, sum(model.nbytes for _, model in self.made if not model.closed))
        return model

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.made]

    @property
    def in_memory(self) -> set[str]:
        """What was made and not let go."""
        return {name for name, model in self.made if not model.closed}


def put(folder: Path, name: str, content: str) -> None:
    """Write a model's file anew: another file takes its place, as a careful copy does."""
    (folder / name).mkdir(exist_ok=True)
    new = folder / name / ".new"
    new.write_text(content)
    new.rename(folder / name / "model")


Opening = Callable[..., Repository[Model]]


def states(repository: Repository[Model]) -> dict[str, State]:
    return {entry.name: entry.state for entry in repository.entries()}


def settle(repository: Repository[Model]) -> None:
    """Wait until the threads that load have done what they were asked for."""
    for executor in (repository._loader, repository._recaller):
        executor.submit(lambda: None).result(30)


def refreshed(repository: Repository[Model], times: int = 2) -> None:
    """Refresh until what changed has rested from one refresh to the next, and is loaded."""
    for _ in range(times):
        repository.refresh()
    settle(repository)


@contextmanager
def asked(repository: Repository[Model], name: str) -> Iterator[Model]:
    """A lease of a model that was let go: refused once, and given when it has been loaded."""
    with pytest.raises(LoadingError), repository.lease(name):
        pass
    settle(repository)
    with repository.lease(name) as model:
        yield model
