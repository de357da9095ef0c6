"""A folder of models, served while it changes: they appear, reload and leave without a restart.

`refresh`, called once a second, compares the folder with what is known. A model whose files changed is loaded again as
soon as they have stayed the same from one refresh to the next, so that none is read while it is copied; until then, and
while it loads, the one before answers on. It does so, too, if the new files cannot be loaded, which its entry tells;
when it has to leave memory, it is FAILED. Calls under way keep the model that they have (`lease`).

Memory is bounded by a budget for the weights. A ready model that is not in use is let go when another needs the room,
the least recently used first, and loaded again when it is asked for: it stays READY. The call that asks is refused and
has to come back, as do those that come until it is loaded: waiting here, they would hold up calls of other models. It
is kept until the first of them is there again, so that two models which do not fit together answer in turn. If all are
in use, the call that asks for one more is refused. A model that is larger than the budget is FAILED. One that is new
or has changed gets its room before it is built. If the others are in use, or are called for meanwhile, it is beyond the
budget until it is built, and then let go; so is, meanwhile, the one before of one that changed.

A model that failed is tried again when its files change; `touch` is enough.
"""

import itertools
import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, Generic

from qkv_server.transformers.errors import ModelFileError
from qkv_server.transformers.repository.entry import (
    Admit,
    Entry,
    LoadingError,
    NoRoomError,
    State,
    UnknownNameError,
    UnusableError,
)
from qkv_server.transformers.repository.folder import NAMES, Fingerprint, fingerprint, scan
from qkv_server.transformers.repository.record import LOADING, Held, M, Record

_log = logging.getLogger(__name__)

AWAITED_SECONDS = 5.0  # that a model is kept for the call that had it loaded, beyond the time that this was told


class Repository(Generic[M]):
    """The models of a folder.

    `load(name, path, admit)` makes one once `admit` has heard its size, and raises ModelFileError where it cannot.
    `on_change` is called when the entries may have changed, for the first time before the repository is there.

    Models that are new or have changed are loaded by a thread of the repository's own, one after another, and those
    that were let go by another one: they are not held up by large ones that come. Methods may be called from any
    thread, and `on_change` is.
    """

    def __init__(
        self,
        folder: Path,
        load: Callable[[str, Path, Admit], M],
        memory_budget: int | None = None,
        on_change: Callable[[], object] = lambda: None,
    ) -> None:
        self._folder = folder
        self._load = load
        self._budget = memory_budget
        self._on_change = on_change
        self._lock = threading.Lock()
        self._records: dict[str, Record[M]] = {}
        self._uses = itertools.count(1)
        self._loader = ThreadPoolExecutor(1, thread_name_prefix="model-loader")
        self._recaller = ThreadPoolExecutor(1, thread_name_prefix="model-recaller")
        self._loads: set[Future[None]] = set()  # that are under way, or wait for their turn
        self._unreadable = False
        self._misnamed: frozenset[str] = frozenset()
        self._refresh(settled=True)

    def refresh(self) -> None:
        """See what has changed in the folder."""
        self._refresh(settled=False)

    def entries(self) -> list[Entry[Any]]:
        """All models by name."""
        with self._lock:
            return [record.entry for _, record in sorted(self._records.items())]

    def entry(self, name: str) -> Entry[Any]:
        """One model. Raises UnknownNameError."""
        with self._lock:
            return self._record(name).entry

    @contextmanager
    def lease(self, name: str) -> Iterator[M]:
        """A model, kept while the context lasts. One that was let go is loaded from now on, for a later call.

        Raises UnknownNameError, UnusableError, LoadingError, NoRoomError.
        """
        held = self._taken(name)
        try:
            yield held.model
        finally:
            self._give_back(held)

    def close(self) -> bool:
        """Let all models go, those in use when their calls end, and load no more; whether none is being loaded.

        Loading cannot be stopped from outside; its thread ends after it, minutes later where files are converted.
        """
        with self._lock:
            left_over = [record.released() for record in self._records.values()]
            self._records.clear()
        self._retire(left_over)
        for executor in (self._loader, self._recaller):
            executor.shutdown(wait=False, cancel_futures=True)
        return not self._loads

    # What is in the folder.

    def _refresh(self, *, settled: bool) -> None:
        try:
            contents = scan(self._folder)
        except OSError as error:
            if not self._unreadable:  # once is enough
                _log.warning("the folder of models %s cannot be read: %s", self._folder, error.strerror)
            self._unreadable = True
            return
        self._unreadable = False
        for name in sorted(contents.misnamed - self._misnamed):
            _log.warning("%r in the folder of models is left out: names are of %s", name, NAMES)
        self._misnamed = contents.misnamed
        found = contents.models
        seen = {name: fingerprint(path) for name, path in found.items()}
        with self._lock:
            gone = {name: self._records.pop(name).released() for name in self._records.keys() - found.keys()}
            for name, path in found.items():
                self._compare(name, path, seen[name], settled=settled)
        for name in gone:
            _log.info("model %s has left", name)
        self._retire(gone.values())
        self._on_change()

    def _compare(self, name: str, path: Path, seen: Fingerprint, *, settled: bool) -> None:
        """Under the lock: load what is new or has changed, and rests."""
        record = self._records.get(name)
        if record is None:
            record = self._records[name] = Record(name, path, seen)
        else:
            settled = record.seen == seen
            record.path, record.seen = path, seen
        if settled and record.tried != seen:
            record.tried, record.failure = seen, ""
            self._submit(self._loader, self._load_new, record, path, seen)

    # Loading.

    def _submit(self, executor: ThreadPoolExecutor, load: Callable[..., None], *arguments: object) -> None:
        future = executor.submit(load, *arguments)
        self._loads.add(future)
        future.add_done_callback(self._loads.discard)

    def _load_new(self, record: Record[M], path: Path, files: Fingerprint) -> None:
        """In the loader's thread: a model that is new or has changed, unless it left or changed again in the queue."""
        with record.loading:
            with self._lock:
                current = self._records.get(record.name) is record and record.tried == files
            if current:
                self._take_over(record, files, self._made(record, path))

    def _load_again(self, record: Record[M]) -> None:
        """In the recaller's thread: a model that was let go, unless the loader has made a new one meanwhile."""
        with record.loading:
            with self._lock:
                if record.held is not None or record.state is not State.READY:
                    record.coming = False
                    return
                path, files = record.path, record.tried
            self._take_over(record, files, self._made(record, path))

    def _made(self, record: Record[M], path: Path) -> M | str:
        """A model, or why there is none."""
        begun = time.monotonic()
        try:
            model = self._load(record.name, path, partial(self._admit, record, path))
        except ModelFileError as error:
            return str(error)
        except Exception:  # noqa: BLE001 - a defect in one model must not take the others down
            _log.exception("model %s met a defect", record.name)
            return "an internal error, which the log of the server tells"
        record.load_seconds = time.monotonic() - begun
        _log.info("model %s is loaded, %.0f MB", record.name, model.nbytes / 1e6)
        return model

    def _admit(self, record: Record[M], path: Path, nbytes: int) -> None:
        """Make room for a model that is about to be built, if there is any: it is built even if all others are in use.

        So its files are known to be good or not. Raises ModelFileError for one that could never be in memory.
        """
        if self._budget is not None and nbytes > self._budget:
            raise ModelFileError(path, f"needs {nbytes} bytes of memory, more than the budget of {self._budget}")
        evicted: list[Held[M] | None] = []
        with self._lock, suppress(NoRoomError):
            evicted = self._room_for(record, nbytes)
        self._retire(evicted)
        self._on_change()

    def _take_over(self, record: Record[M], files: Fingerprint | None, made: M | str) -> None:
        """A model in place of the one before, or why there is none."""
        with self._lock:
            left_over = self._installed(record, files, made)
        self._retire(left_over)
        self._on_change()

    def _installed(self, record: Record[M], files: Fingerprint | None, made: M | str) -> list[Held[M] | None]:
        """Under the lock: what was made of these files becomes the model. Answers the models that this leaves over."""
        awaited, record.coming = record.coming, False
        if self._records.get(record.name) is not record or record.tried != files:
            return [] if isinstance(made, str) else [Held(made)]  # it has left, or changed again
        if isinstance(made, str):
            record.failed(made)
            _log.warning("model %s is not loaded: %s", record.name, record.entry.reason)
            return []
        before = record.released()
        record.description, record.nbytes = made.description, made.nbytes
        try:
            evicted = self._room_for(record, made.nbytes)
        except NoRoomError:
            return [before, Held(made)]  # it is known to load, and will when there is room
        record.held, record.last_use = Held(made), next(self._uses)
        record.awaited_until = time.monotonic() + record.load_seconds + AWAITED_SECONDS if awaited else 0.0
        return [before, *evicted]

    def _room_for(self, record: Record[M], nbytes: int) -> list[Held[M] | None]:
        """Under the lock: take models that are not in use away until so much has room. Raises NoRoomError."""
        if self._budget is None:
            return []
        now = time.monotonic()
        others = [other for other in self._records.values() if other is not record and (other.held or other.coming)]
        excess = nbytes + sum(other.nbytes for other in others) - self._budget
        leaving: list[Record[M]] = []
        for other in sorted(others, key=lambda other: other.last_use):
            if excess > 0 and other.held is not None and not other.held.users and other.awaited_until <= now:
                leaving.append(other)
                excess -= other.nbytes
        if excess > 0:
            raise NoRoomError(
                f"needs {nbytes} bytes of memory, and the models in use leave too little of {self._budget}",
                max((other.load_seconds for other in others if other.coming), default=0.0),
            )
        for other in leaving:
            _log.info("model %s is let go to make room for %s", other.name, record.name)
        return [other.released() for other in leaving]

    # Use.

    def _taken(self, name: str) -> Held[M]:
        with self._lock:
            record = self._record(name)
            if record.held is not None:
                record.held.users += 1
                record.last_use, record.awaited_until = next(self._uses), 0.0
                return record.held
            if record.state is State.FAILED:
                raise UnusableError(record.failure)
            evicted = self._recalled(record)
        self._retire(evicted)
        self._on_change()
        raise LoadingError(LOADING, record.load_seconds)

    def _recalled(self, record: Record[M]) -> list[Held[M] | None]:
        """Under the lock: have one that was let go loaded. Answers those that make room. Raises NoRoomError."""
        if record.coming or record.loading.locked() or record.state is State.LOADING:
            return []  # somebody is at it
        evicted = self._room_for(record, record.nbytes)
        record.coming = True
        self._submit(self._recaller, self._load_again, record)
        return evicted

    def _give_back(self, held: Held[M]) -> None:
        with self._lock:
            held.users -= 1
            last = held.retired and not held.users
        if last:
            held.model.close()

    def _retire(self, left_over: Iterable[Held[M] | None]) -> None:
        """Close models that no record has any more: now, or when the last call ends that uses one."""
        for held in left_over:
            if held is None:
                continue
            with self._lock:
                held.retired = True
                unused = not held.users
            if unused:
                held.model.close()

    def _record(self, name: str) -> Record[M]:
        record = self._records.get(name)
        if record is None:
            raise UnknownNameError(name)
        return record
