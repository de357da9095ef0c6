"""What was made of files that cannot be used as they are: made once, kept in a cache folder, mapped into memory after.

The folder is `qkv` in $XDG_CACHE_HOME, else in ~/.cache. It may be removed at any time.
"""

import fcntl
import hashlib
import logging
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from qkv_server.transformers.errors import ModelFileError

_FORM = 1  # of what is kept; a new number makes everything anew
_log = logging.getLogger(__name__)


def converted(sources: Sequence[Path], convert: Callable[[Path], None]) -> Path:
    """The folder that `convert` filled for these very files: same place, sizes and times of change.

    Other processes that want the same wait for the one that makes it. Raises ModelFileError.
    """
    source = sources[0].resolve()
    stats = [one.stat() for one in sources]
    place = _cache() / f"{source.stem}-{hashlib.sha256(os.fsencode(source)).hexdigest()[:12]}"
    folder = place / f"{_FORM}-{sum(stat.st_size for stat in stats)}-{sum(stat.st_mtime_ns for stat in stats)}"
    if folder.is_dir():
        return folder
    try:
        place.mkdir(parents=True, exist_ok=True)
        with (place / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not folder.is_dir():
                _make(source, folder, convert)
    except OSError as error:
        problem = f"cannot be converted in {place} ($XDG_CACHE_HOME moves it): {error.strerror}"
        raise ModelFileError(source, problem) from error
    return folder


def _make(source: Path, folder: Path, convert: Callable[[Path], None]) -> None:
    """Under the lock: whatever else is there is of an older file, or what a process left that was killed."""
    for old in folder.parent.iterdir():
        if old.is_dir():
            shutil.rmtree(old)
    _log.info("converting %s, once; the result is kept in %s", source.name, folder)
    unfinished = folder.with_name("unfinished")
    unfinished.mkdir()
    try:
        convert(unfinished)
    except BaseException:
        shutil.rmtree(unfinished)
        raise
    unfinished.rename(folder)
    _log.info("converted %s", source.name)


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "qkv"
