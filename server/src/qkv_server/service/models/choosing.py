"""Which model answers a request: the one that is named, or the only one that can."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from qkv import Violation
from qkv_server.service.errors import (
    InvalidRequestError,
    ModelNotReadyError,
    NoModelError,
    NoRoomError,
    NoSuchTaskError,
    UnknownModelError,
)
from qkv_server.service.models.described import Description, Task, words
from qkv_server.transformers.repository import repository
from qkv_server.transformers.repository.repository import Entry, Repository, State, UnknownNameError, UnusableError

if TYPE_CHECKING:
    from qkv_server.service.models.served import ServedModel  # which needs an extra

RETRY_SECONDS = 1.0  # of what is waited for, that another model is let go


class Models:
    """The models of a repository, or none."""

    def __init__(self, repository: "Repository[ServedModel] | None") -> None:
        self._repository = repository

    def entries(self) -> Sequence[Entry]:
        """All models by name."""
        return self._repository.entries() if self._repository is not None else ()

    def entry(self, name: str) -> Entry:
        """One model; raises UnknownModelError."""
        for entry in self.entries():
            if entry.name == name:
                return entry
        raise self._unknown(name)

    def able(self, task: Task | None) -> Iterator[tuple[str, Description]]:
        """The ready models that have a task, by name; all ready ones if there is no task in question."""
        for entry in self.entries():
            description = entry.description
            if entry.state is not State.READY or not isinstance(description, Description):
                continue
            if task is None or task in description.tasks:
                yield entry.name, description

    @contextmanager
    def lease(self, name: str, task: Task | None = None) -> Iterator["ServedModel"]:
        """The model of a name, kept while the context lasts; of an empty name the only ready one that has the task.

        It may wait for a model to be loaded. Raises ServiceError if there is none, or none that can.
        """
        name = name or only([able for able, _ in self.able(task)], task)
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
        except repository.NoRoomError as error:
            raise NoRoomError(name, str(error), RETRY_SECONDS) from None

    def _unknown(self, name: str) -> UnknownModelError:
        return UnknownModelError(name, [entry.name for entry in self.entries()])


def only(names: Sequence[str], task: Task | None) -> str:
    """The name of the only model that can; raises ServiceError if there is none, or a choice."""
    if not names:
        raise NoModelError(task.value if task is not None else None)
    if len(names) > 1:
        can = f"can {task.value}" if task is not None else "are ready"
        raise InvalidRequestError([Violation("model", f"needed, since several {can}: {', '.join(names)}")])
    return names[0]
