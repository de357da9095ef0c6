"""A folder of models, served while it changes: they appear, reload and leave without a restart.

`refresh`, called once a second, compares the folder with what is known. A model whose files changed is loaded again as
soon as they have stayed the same from one refresh to the next, so that none is read while it is copied; until then, and
while it loads, the one before answers on. Calls under way keep the model that they have (`lease`).

Memory is bounded by a budget for the weights. A ready model that is not in use is let go when another needs the room,
the least recently used first, and loaded again when it is asked for: it stays READY. If all are in use, the call that
asks for one more is refused. A model that is larger than the budget is FAILED. While one that changed is loaded, the
one before takes its memory, too.

A model that failed is tried again when its files change; `touch` is enough.
"""

import itertools
import logging
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from qkv_server.transformers.errors import ModelFileError
from qkv_server.transformers.repository.entry import (
    Entry,
    Loaded,
    NoRoomError,
    State,
    UnknownNameError,
    UnusableError,
)
from qkv_server.transformers.repository.folder import Fingerprint, fingerprint, scan

__all__ = ["Entry", "Loaded", "NoRoomError", "Repository", "State", "UnknownNameError", "UnusableError"]

_log = logging.getLogger(__name__)
M = TypeVar("M", bound=Loaded)


@dataclass(eq=False, slots=True)
class _Held(Generic[M]):
    """A model in memory, and how many calls use it."""

    model: M
    users: int = 0
    retired: bool = False  # to be closed when the last of them ends


@dataclass(eq=False, slots=True)
class _Record(Generic[M]):
    """What is known of a name. Guarded by the lock of the repository."""

    name: str
    path: Path
    seen: Fingerprint  # at the last refresh
    tried: Fingerprint | None = None  # what was loaded, or failed to
    state: State = State.LOADING
    reason: str = "is being loaded"
    description: Any | None = None
    nbytes: int = 0
    held: _Held[M] | None = None
    coming: bool = False  # a call is loading it; its room is taken
    last_use: int = 0
    loading: threading.Lock = field(default_factory=threading.Lock)  # taken before that of the repository


class Repository(Generic[M]):
    """The models of a folder. `load(name, path)` makes one, and raises ModelFileError where it cannot.

    Models are loaded by a thread of the repository's own, one after another. Methods may be called from any thread.
    """

    def __init__(self, folder: Path, load: Callable[[str, Path], M], memory_budget: int | None = None) -> None:
        self._folder = folder
        self._load = load
        self._budget = memory_budget
        self._lock = threading.Lock()
        self._records: dict[str, _Record[M]] = {}
        self._uses = itertools.count(1)
        self._loader = ThreadPoolExecutor(1, thread_name_prefix="model-loader")
        self._pending: set[Future[None]] = set()
        self._unreadable = False
        self._refresh(settled=True)

    def refresh(self) -> None:
        """See what has changed in the folder."""
        self._refresh(settled=False)

    def entries(self) -> list[Entry]:
        """All models by name."""
        with self._lock:
            return [self._entry(record) for _, record in sorted(self._records.items())]

    def entry(self, name: str) -> Entry:
        """One model. Raises UnknownNameError."""
        with self._lock:
            return self._entry(self._record(name))

    @contextmanager
    def lease(self, name: str) -> Iterator[M]:
        """A model, kept while the context lasts. Waits while one that was let go is loaded again.

        Raises UnknownNameError, UnusableError, NoRoomError.
        """
        held = self._taken(name)
        try:
            yield held.model
        finally:
            self._give_back(held)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until nothing is left to load; False if that takes too long."""
        with self._lock:
            pending = set(self._pending)
        return not wait(pending, timeout).not_done

    def close(self) -> None:
        """Let all models go; those in use when their calls end."""
        self._loader.shutdown(cancel_futures=True)
        with self._lock:
            held = [self._released(record) for record in self._records.values()]
            self._records.clear()
        for model in held:
            if model is not None:
                self._retire(model)

    # What is in the folder.

    def _refresh(self, *, settled: bool) -> None:
        try:
            found = scan(self._folder)
        except OSError as error:
            if not self._unreadable:  # once is enough
                _log.warning("the folder of models %s cannot be read: %s", self._folder, error.strerror)
            self._unreadable = True
            return
        self._unreadable = False
        seen = {name: fingerprint(path) for name, path in found.items()}
        with self._lock:
            gone = {name: self._released(self._records.pop(name)) for name in self._records.keys() - found.keys()}
            for name, path in found.items():
                self._compare(name, path, seen[name], settled=settled)
        for name, held in gone.items():
            _log.info("model %s has left", name)
            if held is not None:
                self._retire(held)

    def _compare(self, name: str, path: Path, seen: Fingerprint, *, settled: bool) -> None:
        """Under the lock: load what is new or has changed, and rests."""
        record = self._records.get(name)
        if record is None:
            record = self._records[name] = _Record(name, path, seen)
        else:
            settled = record.seen == seen
            record.path, record.seen = path, seen
        if settled and record.tried != seen:
            record.tried = seen
            if record.state is State.FAILED:
                record.state, record.reason = State.LOADING, "is being loaded"
            future = self._loader.submit(self._load_new, record, path, seen)
            self._pending.add(future)
            future.add_done_callback(self._pending.discard)

    # Loading.

    def _load_new(self, record: _Record[M], path: Path, files: Fingerprint) -> None:
        """In the loader's thread: a model that is new or has changed."""
        with record.loading:
            made = self._made(record.name, path)
            if not isinstance(made, str) and self._budget is not None and made.nbytes > self._budget:
                reason = f"needs {made.nbytes} bytes of memory, more than the budget of {self._budget}"
                made.close()
                made = reason
            self._take_over(record, files, made)

    def _take_over(self, record: _Record[M], files: Fingerprint, made: M | str) -> None:
        """A model in place of the one before, or why there is none."""
        with self._lock:
            unwanted = self._installed(record, files, made)
        for held in unwanted:
            self._retire(held)

    def _installed(self, record: _Record[M], files: Fingerprint, made: M | str) -> list[_Held[M]]:
        """Under the lock: what was made of these files becomes the model. Answers the models that this leaves over."""
        record.coming = False
        if self._records.get(record.name) is not record or record.tried != files:
            return [] if isinstance(made, str) else [_Held(made)]  # it has left, or changed again
        left_over = [] if record.held is None else [record.held]
        record.held = None
        if isinstance(made, str):
            record.state, record.reason = State.FAILED, made
            return left_over
        record.state, record.reason = State.READY, ""
        record.description, record.nbytes = made.description, made.nbytes
        try:
            evicted = self._room_for(record)
        except NoRoomError:
            return [*left_over, _Held(made)]  # it is known to load, and will when there is room
        record.held, record.last_use = _Held(made), next(self._uses)
        return [*left_over, *evicted]

    def _made(self, name: str, path: Path) -> M | str:
        """A model, or why there is none."""
        try:
            model = self._load(name, path)
        except ModelFileError as error:
            _log.warning("model %s cannot be loaded: %s", name, error)
            return str(error)
        except Exception:  # noqa: BLE001 - a defect in one model must not take the others down
            _log.exception("model %s cannot be loaded", name)
            return "cannot be loaded because of an internal error, which the log of the server tells"
        _log.info("model %s is loaded, %.0f MB", name, model.nbytes / 1e6)
        return model

    def _bring_back(self, record: _Record[M]) -> None:
        """Load again what was let go. Raises NoRoomError."""
        with record.loading:
            with self._lock:
                if record.held is not None or record.state is not State.READY or record.tried is None:
                    return
                evicted = self._room_for(record)
                record.coming, path, files = True, record.path, record.tried
            for held in evicted:
                self._retire(held)
            self._take_over(record, files, self._made(record.name, path))

    def _room_for(self, record: _Record[M]) -> list[_Held[M]]:
        """Under the lock: take models that are not in use away until there is room. Raises NoRoomError."""
        if self._budget is None:
            return []
        others = [other for other in self._records.values() if other is not record and (other.held or other.coming)]
        excess = record.nbytes + sum(other.nbytes for other in others) - self._budget
        leaving: list[_Record[M]] = []
        for other in sorted(others, key=lambda other: other.last_use):
            if excess > 0 and other.held is not None and not other.held.users:
                leaving.append(other)
                excess -= other.nbytes
        if excess > 0:
            raise NoRoomError(
                f"needs {record.nbytes} bytes of memory, and the models in use leave too little of {self._budget}"
            )
        for other in leaving:
            _log.info("model %s is let go to make room for %s", other.name, record.name)
        return [held for other in leaving if (held := self._released(other)) is not None]

    # Use.

    def _taken(self, name: str) -> _Held[M]:
        while True:
            with self._lock:
                record = self._record(name)
                if record.state is not State.READY:
                    raise UnusableError(record.state, record.reason)
                if record.held is not None:
                    record.held.users += 1
                    record.last_use = next(self._uses)
                    return record.held
            self._bring_back(record)

    def _give_back(self, held: _Held[M]) -> None:
        with self._lock:
            held.users -= 1
            last = held.retired and not held.users
        if last:
            held.model.close()

    def _released(self, record: _Record[M]) -> _Held[M] | None:
        """Under the lock: the model of a record, which has none from now on."""
        held, record.held = record.held, None
        return held

    def _retire(self, held: _Held[M]) -> None:
        """Close a model that no record has any more: now, or when the last call ends that uses it."""
        with self._lock:
            held.retired = True
            unused = not held.users
        if unused:
            held.model.close()

    def _record(self, name: str) -> _Record[M]:
        record = self._records.get(name)
        if record is None:
            raise UnknownNameError(name)
        return record

    def _entry(self, record: _Record[M]) -> Entry:
        return Entry(
            record.name,
            record.path,
            record.state,
            record.reason,
            record.description,
            record.nbytes,
            record.held is not None,
        )
