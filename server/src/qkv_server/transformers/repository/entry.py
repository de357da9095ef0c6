"""What a repository of models says of each, why it does not give one, and what it asks of those that it loads."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, Generic, Protocol, TypeVar

D = TypeVar("D")

Admit = Callable[[int], None]  # hears how many bytes a model needs before they are taken; raises ModelFileError


class State(Enum):
    """Whether a model can be used."""

    LOADING = auto()
    READY = auto()
    FAILED = auto()


class UnknownNameError(KeyError):
    """The repository has no model of this name."""


class UnusableError(Exception):
    """The model could not be loaded; the message says why."""


class NotYetError(Exception):
    """Base of what is over by itself. `seconds` is how long what is waited for took the last time, 0 if unknown."""

    def __init__(self, message: str, seconds: float) -> None:
        super().__init__(message)
        self.seconds = seconds


class LoadingError(NotYetError):
    """The model is being loaded: for the first time, or again since it was asked for after it had been let go."""


class NoRoomError(NotYetError):
    """The memory budget is taken by models that are in use, or are being loaded for others."""


class Loaded(Protocol):
    """What a repository keeps of a loaded model."""

    @property
    def nbytes(self) -> int:
        """What its weights take in memory: what was admitted."""

    @property
    def description(self) -> Any:
        """What can be told of it, also after it was let go."""

    def close(self) -> None:
        """End its threads; called when nobody uses it any more."""


@dataclass(frozen=True, slots=True)
class Entry(Generic[D]):
    """A model of the repository, as it stands; D is how its models are described."""

    name: str
    state: State
    reason: str  # why it cannot be used, or why the one that answers is not what the files are; empty else
    description: D | None  # of the one that answers, or would be loaded again to do so; None if there is none
