"""GGUF files in parts: read as one model, under one name, and what is said when parts are missing or mixed up.

The parts are written by the `gguf` library, which follows llama.cpp: PREFIX-%05d-of-%05d.gguf counts from 1
(`llama_split_path`), the keys split.no from 0 and split.count; the first part has all metadata.
"""

import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from qkv_server.command_models import models
from qkv_server.transformers.errors import ModelFileError
from qkv_server.transformers.files import read_model
from qkv_server.transformers.repository.folder import fingerprint, scan

gguf = pytest.importorskip("gguf", reason="the extra `models` is not installed")

from tiny_models import FOLDER  # noqa: E402 - as above

from .gguf_writing import write_gguf  # noqa: E402 - it needs the library


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache of its own for each test."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / ".cache"))


@pytest.fixture
def parts(tmp_path: Path) -> list[Path]:
    """A model of 20 tensors in parts of 8."""
    write_gguf(tmp_path / "tiny.gguf", FOLDER / "llama", part_tensors=8)
    found = sorted(tmp_path.glob("*.gguf"))
    assert [path.name for path in found] == [f"tiny-0000{number}-of-00003.gguf" for number in (1, 2, 3)]
    return found


def test_parts_are_read_as_one_model(tmp_path: Path, parts: list[Path]) -> None:
    """Whichever part is named, the model has the tensors of all, with the numbers that they were made of."""
    expected = read_model(FOLDER / "llama").weights
    for path in (*parts, tmp_path):
        found = read_model(path).weights
        assert set(found) == set(expected)
        for name in expected:
            assert (found.take(name, expected.shape(name)) == expected.take(name, expected.shape(name))).all()


def test_a_missing_part_is_named(tmp_path: Path, parts: list[Path]) -> None:
    """Whichever part is named, the error is about the one that is missing."""
    for missing in (parts[1], parts[0]):
        missing.unlink()
        for path in (parts[2], tmp_path):
            with pytest.raises(ModelFileError) as refusal:
                read_model(path)
            number = parts.index(missing) + 1
            assert str(refusal.value) == f"tiny-0000{number}-of-00003.gguf: is missing, part {number} of 3"


def test_parts_that_are_mixed_up_are_named(parts: list[Path]) -> None:
    """A part under another's name, or under a name of its own, is refused with both places."""
    parts[2].write_bytes(parts[1].read_bytes())
    with pytest.raises(ModelFileError, match=r"^tiny-00003-of-00003.gguf: is part 2 of 3, its name says 3 of 3"):
        read_model(parts[0])
    alone = parts[0].rename(parts[0].with_name("alone.gguf"))
    with pytest.raises(ModelFileError, match=r"^alone.gguf: is part 1 of 3, its name says 1 of 1: parts are called"):
        read_model(alone)


def test_parts_of_another_model_are_refused(tmp_path: Path, parts: list[Path]) -> None:
    """A part that does not belong to the others has their tensors once more, or too few."""
    for others, problem in (
        (9, "tiny-00001-of-00003.gguf: says that its parts have 20 tensors, they have 18"),
        (7, "tiny-00003-of-00003.gguf: has tensor '.*', and so has tiny-00002-of-00003.gguf"),
    ):
        write_gguf(tmp_path / "other.gguf", FOLDER / "llama", part_tensors=others)
        (tmp_path / "other-00003-of-00003.gguf").replace(parts[2])
        with pytest.raises(ModelFileError, match=f"^{problem}$"):
            read_model(parts[0])


def test_parts_are_one_model_of_a_folder(tmp_path: Path, parts: list[Path]) -> None:
    """In a folder of models they have one name, also while the first is missing; each tells that it has changed."""
    assert scan(tmp_path).models == {"tiny": parts[0]}
    seen = fingerprint(parts[0])
    os.utime(parts[2], ns=(1, 1))
    assert fingerprint(parts[0]) != seen
    parts[0].unlink()
    assert scan(tmp_path).models == {"tiny": parts[1]}
    assert len(fingerprint(parts[1])) == 2


def test_names_may_speak_of_many_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A look at a folder is at the parts that are there, and makes no list of those that there should be."""
    monkeypatch.delattr("qkv_server.transformers.gguf_parts.parts")
    there = [tmp_path / f"x-0000{number}-of-99999.gguf" for number in (2, 3)]
    for path in (*there, tmp_path / "x-00001-of-00002.gguf"):
        path.touch()
    assert scan(tmp_path).models == {"x": tmp_path / "x-00001-of-00002.gguf", there[0].name: there[0]}
    assert [file for file, *_ in fingerprint(there[0])] == [path.name for path in there]


def test_parts_are_added_by_any_of_them(tmp_path: Path, parts: list[Path]) -> None:
    """`models add` links to one part under the name of the model, and all are read."""
    folder = tmp_path / "models"
    added = CliRunner().invoke(models, ["add", str(parts[1]), "--folder", str(folder)])
    assert (added.exit_code, added.stdout) == (0, "tiny: llama, 28.2 k parameters\n")
    assert scan(folder).models == {"tiny": folder / "tiny"}
    assert len(fingerprint(folder / "tiny")) == 3


def test_a_changed_part_is_converted_anew(tmp_path: Path, parts: list[Path]) -> None:
    """What was made of the parts is kept until one of them changes."""
    read_model(parts[0])
    (kept,) = (tmp_path / ".cache" / "qkv").glob("*/")
    os.utime(parts[1], ns=(1, 1))
    read_model(parts[0])
    assert not kept.exists()


def test_a_link_without_an_ending_may_lead_to_a_stored_file(tmp_path: Path, parts: list[Path]) -> None:
    """Names are those of the links where files are called by their hash, as in the cache of Hugging Face's hub."""
    for number, part in enumerate(parts):
        part.symlink_to(part.rename(tmp_path / f"hash{number}"))
    (tmp_path / "model").symlink_to(parts[0])
    assert len(read_model(tmp_path / "model").weights) == 20
    assert len(fingerprint(tmp_path / "model")) == 3
