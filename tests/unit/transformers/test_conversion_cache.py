"""What was made of files is kept, whoever else looks into the cache meanwhile."""

import errno
from pathlib import Path

import pytest

from qkv_server.transformers.files.conversion_cache import converted


def convert(folder: Path) -> None:
    (folder / "result").touch()


def test_whose_entry_it_is_can_always_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the new place of a source cannot be written down whole, the one before is kept, and with it the entry."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    source, moved, other = (tmp_path / name for name in ("source", "moved", "other"))
    source.touch()
    moved.hardlink_to(source)
    other.write_bytes(b"other")
    entry = converted([source], convert)
    write_text = Path.write_text

    def write_half(path: Path, text: str, encoding: str) -> int:
        write_text(path, text[: len(text) // 2], encoding)
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as full_disk:
        full_disk.setattr(Path, "write_text", write_half)
        assert converted([moved], convert) == entry
    converted([other], convert)  # removes entries that are nobody's
    assert (entry / "result").exists()
