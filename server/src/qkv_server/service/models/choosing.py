"""Which model answers a request: the one that is named, or the only one that can."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from qkv import Violation
from qkv_server.service.errors import (
    InvalidRequestError,
    ModelLoadingError,
    ModelNotReadyError,
    NoModelError,
    NoRoomError,
    NoSuchTaskError,
    UnknownModelError,
)
from qkv_server.service.models.description import Description, Task, words
from qkv_server.transformers.repository import entry as repository_entry
from qkv_server.transformers.repository.entry import (
    Entry,
    LoadingError,
    NotYetError,
    State,
    UnknownNameError,
    UnusableError,
)
from qkv_server.transformers.repository.repository import Repository

if TYPE_CHECKING:
    from qkv_server.service.models.served import ServedModel  # which needs an extra

RETRY_SECONDS = 1.0  # of what is waited for at least, that a model is loaded, or another one is let go


class Models:
    """The models of a repository, or none."""

    def __init__(self, repository: "Repository[ServedModel] | None") -> None:
        self._repository = repository

    def entries(self) -> Sequence[Entry[Description]]:
        """All models by name."""
        return self._repository.entries() if self._repository is not None else ()

    def entry(self, name: str) -> Entry[Description]:
        """One model; raises UnknownModelError."""
        if self._repository is None:
            raise self._unknown(name)
        try:
            return self._repository.entry(name)
        except UnknownNameError:
            raise self._unknown(name) from None

    def able(self, task: Task | None) -> Iterator[tuple[str, Description]]:
        """The ready models that have a task, by name; all ready ones if there is no task in question."""
        for entry in self.entries():
            if entry.state is not State.READY or entry.description is None:
                continue
            if task is None or task in entry.description.tasks:
                yield entry.name, entry.description

    def only(self, names: Sequence[str], task: Task | None) -> str:
        """The name of the only model that can; raises ServiceError if there is none, or a choice."""
        if not names:
            loading = [entry.name for entry in self.entries() if entry.state is State.LOADING]
            if loading:
                raise ModelLoadingError(loading, RETRY_SECONDS)
            raise NoModelError(task.value if task is not None else None)
        if len(names) > 1:
            can = f"can {task.value}" if task is not None else "are ready"
            raise InvalidRequestError([Violation("model", f"needed, since several {can}: {', '.join(names)}")])
        return names[0]

    @contextmanager
    def lease(self, name: str, task: Task | None = None) -> Iterator["ServedModel"]:
        """The model of a name, kept while the context lasts; of an empty name the only ready one that has the task.

        Raises ServiceError if there is none, none that can, or none before it has been loaded.
        """
        name = name or self.only([able for able, _ in self.able(task)], task)
        if self._repository is None:
            raise self._unknown(name)
        try:
            with self._repository.lease(name) as model:
                tasks = model.description.tasks
                if task is not None and task not in tasks:
                    raise NoSuchTaskError(name, task.value, words(tasks))
                yield model
        except UnknownNameError:
            raise self._unknown(name) from None
        except UnusableError as error:
            raise ModelNotReadyError(name, str(error)) from None
        except LoadingError as error:
            raise ModelLoadingError([name], _retry_seconds(error)) from None
        except repository_entry.NoRoomError as error:
            raise NoRoomError(name, str(error), _retry_seconds(error)) from None

    def _unknown(self, name: str) -> UnknownModelError:
        return UnknownModelError(name, [entry.name for entry in self.entries()])


def _retry_seconds(error: NotYetError) -> float:
    """When to ask again: when what is waited for is done, if it takes as long as the last time."""
    return max(RETRY_SECONDS, math.ceil(error.seconds))
