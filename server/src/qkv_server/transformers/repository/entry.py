"""What a repository of models says of each, why it does not give one, and what it asks of those that it loads."""

from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path
from typing import Any, Protocol


class State(Enum):
    """Whether a model can be used."""

    LOADING = auto()
    READY = auto()
    FAILED = auto()


class UnknownNameError(KeyError):
    """The repository has no model of this name."""


class UnusableError(Exception):
    """The model is loading, or has failed; the message says why."""

    def __init__(self, state: State, reason: str) -> None:
        super().__init__(reason)
        self.state = state


class NoRoomError(Exception):
    """The memory budget is taken by models that are in use."""


class Loaded(Protocol):
    """What a repository keeps of a loaded model."""

    @property
    def nbytes(self) -> int:
        """What its weights take in memory."""

    @property
    def description(self) -> Any:
        """What can be told of it, also after it was let go."""

    def close(self) -> None:
        """End its threads; called when nobody uses it any more."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A model of the repository, as it stands."""

    name: str
    path: Path
    state: State
    reason: str  # why it cannot be used; empty if it can
    description: Any | None  # of the last one loaded
    nbytes: int  # of the last one loaded
    in_memory: bool
