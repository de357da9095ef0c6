"""What was made of files that cannot be used as they are: made once, kept in a cache folder, mapped into memory after.

The folder is `qkv` in $XDG_CACHE_HOME, else in ~/.cache. It may be removed at any time. Each entry is a folder, called
after what tells its sources from others whatever they are called and wherever they lie: they may be moved. An entry
whose sources have gone, or were replaced, is removed when a new one is made.
"""

import fcntl
import hashlib
import json
import logging
import os
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from qkv_server.transformers.errors import ModelFileError

_FORM = 2  # of what is kept; a new number makes everything anew
_SOURCES = "sources.json"  # of an entry: the paths that it was last asked for by
_log = logging.getLogger(__name__)


def converted(sources: Sequence[Path], convert: Callable[[Path], None]) -> Path:
    """The folder that `convert` filled for these very files: same inodes, sizes and times of change.

    Entries are made one after another, also by several processes. Raises ModelFileError.
    """
    sources = [source.resolve() for source in sources]
    cache = _cache(sources[0])
    entry = cache / _name(sources)
    if not entry.is_dir():
        try:
            with _locked(cache):
                if not entry.is_dir():
                    _make(entry, sources, convert)
        except OSError as error:
            problem = f"cannot be converted in {cache} ($XDG_CACHE_HOME moves it): {error.strerror}"
            raise ModelFileError(sources[0], problem) from error
    elif _sources(entry) != sources:
        with suppress(OSError):  # a cache that cannot be written serves what it has
            _note(entry, sources)
    return entry


def _make(entry: Path, sources: Sequence[Path], convert: Callable[[Path], None]) -> None:
    """Under the lock: a new entry, in the place of those that nobody will ask for."""
    for other in entry.parent.iterdir():
        if other.is_dir() and not _is_current(other):
            shutil.rmtree(other, ignore_errors=True)
    _log.info("converting %s, once; the result is kept in %s", sources[0].name, entry)
    unfinished = entry.with_name("unfinished")
    unfinished.mkdir()
    try:
        convert(unfinished)
        _note(unfinished, sources)
    except BaseException:
        shutil.rmtree(unfinished)
        raise
    unfinished.rename(entry)
    _log.info("converted %s", sources[0].name)


def _name(sources: Sequence[Path]) -> str:
    """What an entry is called. Raises OSError for sources that are not there."""
    stats = [source.stat() for source in sources]
    said = [_FORM, *((stat.st_ino, stat.st_size, stat.st_mtime_ns) for stat in stats)]
    return hashlib.sha256(repr(said).encode()).hexdigest()[:32]


def _is_current(entry: Path) -> bool:
    """Whether an entry may be asked for again: its sources are where they were, and the same."""
    try:
        return _name(_sources(entry)) == entry.name
    except (OSError, IndexError):
        return False


def _sources(entry: Path) -> list[Path]:
    """Whose entry it is; nobody's if that cannot be told."""
    try:
        return [Path(path) for path in json.loads((entry / _SOURCES).read_text("utf-8"))]
    except (OSError, ValueError, TypeError):
        return []


def _note(entry: Path, sources: Sequence[Path]) -> None:
    """Write whose entry it is, at once: others may read it meanwhile, and remove an entry that is nobody's."""
    unfinished = entry / f"{_SOURCES}.{os.getpid()}.{threading.get_ident()}"
    unfinished.write_text(json.dumps(list(map(str, sources))), "utf-8")
    unfinished.replace(entry / _SOURCES)


@contextmanager
def _locked(cache: Path) -> Iterator[None]:
    """Keep other processes from making entries, and from removing them."""
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _cache(source: Path) -> Path:
    """The folder of the cache. Raises ModelFileError where there is none."""
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "qkv"
    except RuntimeError:
        problem = "cannot be converted: this user has no home folder for the result; set $XDG_CACHE_HOME"
        raise ModelFileError(source, problem) from None
