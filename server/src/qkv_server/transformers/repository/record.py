"""What a repository knows of a name: its files, and the model of it that is in memory."""

import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from qkv_server.transformers.repository.entry import Entry, Loaded, State
from qkv_server.transformers.repository.folder import Fingerprint

M = TypeVar("M", bound=Loaded)

LOADING = "is being loaded"
LET_GO = "was let go to make room for others; is loaded again when it is asked"


@dataclass(eq=False, slots=True)
class Held(Generic[M]):
    """A model in memory, and how many calls use it."""

    model: M
    users: int = 0
    retired: bool = False  # to be closed when the last of them ends


@dataclass(eq=False, slots=True)
class Record(Generic[M]):
    """What is known of a name. Guarded by the lock of the repository, but for `loading`, which is taken before that."""

    name: str
    path: Path
    seen: Fingerprint  # at the last refresh
    tried: Fingerprint | None = None  # the files that were loaded, or are, or could not be
    failure: str = ""  # why they could not; empty else
    description: Any | None = None  # of the last model loaded; None if it cannot be loaded again
    nbytes: int = 0  # of that model
    held: Held[M] | None = None
    coming: bool = False  # it was let go, and is loaded again; its room is taken
    awaited_until: float = 0.0  # of time.monotonic: loaded for a call that will come back, which it waits for
    last_use: int = 0
    load_seconds: float = 0.0  # that it took the last time to load it
    loading: threading.Lock = field(default_factory=threading.Lock)

    @property
    def state(self) -> State:
        """Whether it can be used."""
        if self.held is not None:
            return State.READY
        if self.failure:
            return State.FAILED
        return State.LOADING if self.description is None else State.READY

    @property
    def entry(self) -> Entry[Any]:
        """What is told of it."""
        return Entry(self.name, self.state, self._reason, self.description)

    @property
    def _reason(self) -> str:
        if self.held is not None and self.failure:
            return f"the files changed and cannot be loaded: {self.failure}; the model before answers"
        if self.held is not None or self.failure:
            return self.failure
        return LOADING if self.coming or self.description is None else LET_GO

    def failed(self, why: str) -> None:
        """Its files cannot be loaded. A model that was made of earlier ones answers while it is in memory."""
        self.failure = why
        if self.held is None:
            self.description = None

    def released(self) -> Held[M] | None:
        """Its model, which it has no more; one whose files cannot be loaded is lost."""
        held, self.held = self.held, None
        if self.failure:
            self.description = None
        return held
