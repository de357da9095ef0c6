"""Models appear, reload and leave as the files of the folder do."""

import os
import shutil
from pathlib import Path

import pytest
from serving import until

from qkv_server.transformers.repository.entry import Admit, Entry, State
from qkv_server.transformers.repository.repository import Repository

from .text_models import Loading, Model, Opening, put, refreshed, settle, states


def test_a_model_appears_when_its_files_rest(tmp_path: Path, load: Loading, opened: Opening) -> None:
    """A model that is being copied is not read before two refreshes have seen the same."""
    repository = opened()
    put(tmp_path, "a", "1:half")
    refreshed(repository, 1)
    assert states(repository) == {"a": State.LOADING}
    put(tmp_path, "a", "1:whole")
    refreshed(repository, 1)
    assert load.made == []
    refreshed(repository, 1)
    assert repository.entry("a").description == "1:whole"
    assert len(load.made) == 1


def test_a_model_reloads_while_the_old_one_serves(tmp_path: Path, load: Loading, opened: Opening) -> None:
    """Calls under way keep the old model, calls that come while the new one loads get it, too, later ones the new."""
    put(tmp_path, "a", "1:old")
    repository = opened()
    put(tmp_path, "a", "1:new")
    load.gate.clear()
    with repository.lease("a") as under_way:
        repository.refresh()
        repository.refresh()
        with repository.lease("a") as meanwhile:
            assert meanwhile is under_way
        load.gate.set()
        settle(repository)
        with repository.lease("a") as later:
            assert later.content == "1:new"
        assert under_way.closed == 0
    assert under_way.closed == 1
    assert later.closed == 0


def test_files_that_cannot_be_loaded_leave_the_model_before(
    tmp_path: Path, load: Loading, opened: Opening, caplog: pytest.LogCaptureFixture
) -> None:
    """The model that is in memory answers on, which is told and logged with what is wrong, until good files come."""
    put(tmp_path, "a", "1:good")
    repository = opened()
    put(tmp_path, "a", "broken")
    refreshed(repository)
    said = "the files changed and cannot be loaded: config.json: broken; the model before answers"
    assert repository.entry("a") == Entry("a", State.READY, said, "1:good")
    assert [each.getMessage() for each in caplog.records if each.levelname == "WARNING"] == [
        f"model a is not loaded: {said}"
    ]
    with repository.lease("a") as model:
        assert (model.content, model.closed) == ("1:good", 0)
    put(tmp_path, "a", "1:mended")
    refreshed(repository)
    assert repository.entry("a") == Entry("a", State.READY, "", "1:mended")
    assert load.in_memory == {"a"}
    assert model.closed == 1


def test_a_model_that_failed_can_be_mended(tmp_path: Path, opened: Opening) -> None:
    """It is LOADING again, and ready when its next files are good."""
    put(tmp_path, "a", "broken")
    repository = opened()
    assert states(repository) == {"a": State.FAILED}
    put(tmp_path, "a", "1:mended")
    refreshed(repository)
    with repository.lease("a") as model:
        assert model.content == "1:mended"


def test_what_has_not_changed_is_not_loaded_again(tmp_path: Path, load: Loading, opened: Opening) -> None:
    """Refreshing costs nothing while the folder rests, for models that are ready and for those that failed."""
    put(tmp_path, "a", "1:a")
    put(tmp_path, "b", "broken")
    repository = opened()
    refreshed(repository, 5)
    assert load.names == ["a"]


def test_another_file_of_the_same_size_and_time_is_seen(tmp_path: Path, opened: Opening) -> None:
    """A file that takes the place of another, with its times kept as copies may do, is a change."""
    put(tmp_path, "a", "1:old")
    repository = opened()
    times = (tmp_path / "a" / "model").stat()
    (tmp_path / "a" / ".next").write_text("1:new")
    os.utime(tmp_path / "a" / ".next", ns=(times.st_atime_ns, times.st_mtime_ns))
    (tmp_path / "a" / ".next").rename(tmp_path / "a" / "model")
    refreshed(repository)
    assert repository.entry("a").description == "1:new"


def test_a_model_leaves_when_it_is_removed(tmp_path: Path, opened: Opening) -> None:
    """A removed model is unknown at once; calls under way end with it, and then it is closed."""
    put(tmp_path, "a", "1:a")
    repository = opened()
    with repository.lease("a") as model:
        (tmp_path / "a" / "model").unlink()
        (tmp_path / "a").rmdir()
        repository.refresh()
        assert states(repository) == {}
        assert model.closed == 0
    assert model.closed == 1


def test_a_model_that_leaves_while_it_loads_is_closed(tmp_path: Path, load: Loading, opened: Opening) -> None:
    """What was loaded of a folder that has gone is not kept."""
    load.gate.clear()
    put(tmp_path, "a", "1:a")
    repository = opened(waiting=False)
    (tmp_path / "a").rename(tmp_path / ".a")
    repository.refresh()
    (tmp_path / ".a").rename(tmp_path / "a")
    load.gate.set()
    settle(repository)
    assert states(repository) == {}
    assert [model.closed for _, model in load.made] == [1]


def test_links_are_followed(tmp_path: Path, load: Loading, opened: Opening) -> None:
    """A link is the model that it points to; one that is pointed elsewhere reloads; one to nothing fails."""
    put(tmp_path, ".one", "1:one")
    put(tmp_path, ".two", "1:two")
    (tmp_path / "a").symlink_to(tmp_path / ".one")
    repository = opened()
    assert repository.entry("a").description == "1:one"
    (tmp_path / ".next").symlink_to(tmp_path / ".two")
    (tmp_path / ".next").rename(tmp_path / "a")
    refreshed(repository)
    assert repository.entry("a").description == "1:two"
    (tmp_path / "b").symlink_to(tmp_path / ".none")
    refreshed(repository)
    assert states(repository)["b"] is State.FAILED
    assert load.names == ["a", "a"]


def test_a_link_in_a_circle_is_a_model_that_fails(tmp_path: Path, opened: Opening) -> None:
    """It does not keep the others from being watched, nor does one within the folder of a model."""
    put(tmp_path, "a", "1:a")
    (tmp_path / "a" / "loop").symlink_to("loop")
    (tmp_path / "loop").symlink_to("loop")
    repository = opened()
    assert states(repository) == {"a": State.READY, "loop": State.FAILED}
    put(tmp_path, "a", "1:changed")
    refreshed(repository)
    assert repository.entry("a").description == "1:changed"


def test_what_has_no_name_is_left_out_and_told_once(
    tmp_path: Path, opened: Opening, caplog: pytest.LogCaptureFixture
) -> None:
    """A folder whose name is not in UTF-8, or has a space, is no model; one warning says so each time it comes."""
    for name in ("a", "caf\udce9", "b c"):
        put(tmp_path, name, "1:content")
    repository = opened()
    refreshed(repository, 3)
    assert states(repository) == {"a": State.READY}
    assert [record.getMessage() for record in caplog.records if record.levelname == "WARNING"] == [
        f"{name} in the folder of models is left out: names are of letters, digits, '.', '_' and '-', the first no '.'"
        for name in ("'b c'", r"'caf\udce9'")
    ]
    caplog.clear()
    (tmp_path / "b c").rename(tmp_path / ".away")
    refreshed(repository)
    (tmp_path / ".away").rename(tmp_path / "b c")
    refreshed(repository)
    assert [record.getMessage()[:5] for record in caplog.records] == ["'b c'"]


def test_gguf_files_are_named_without_their_ending(tmp_path: Path) -> None:
    """A file's name is what is before .gguf, unless a folder has that name."""
    (tmp_path / "small.gguf").write_bytes(b"")
    (tmp_path / "other.gguf").write_bytes(b"")
    (tmp_path / "link").symlink_to(tmp_path / "other.gguf")
    put(tmp_path, "small", "1:small")
    loaded: list[str] = []

    def load(name: str, path: Path, _: Admit) -> Model:
        loaded.append(f"{name} {path.name}")
        return Model("1:x")

    repository = Repository(tmp_path, load)
    settle(repository)
    repository.close()
    assert sorted(loaded) == ["link link", "other other.gguf", "small small", "small.gguf small.gguf"]


def test_a_folder_that_cannot_be_read_keeps_what_is_known(tmp_path: Path, opened: Opening) -> None:
    """While the folder is away, as a network drive may be, its models serve on."""
    put(tmp_path, "a", "1:a")
    repository = opened()
    os.rename(tmp_path, tmp_path.with_name("away"))
    try:
        repository.refresh()
        assert states(repository) == {"a": State.READY}
    finally:
        os.rename(tmp_path.with_name("away"), tmp_path)


def test_what_was_superseded_in_the_queue_is_not_loaded(tmp_path: Path, load: Loading, opened: Opening) -> None:
    """While one model takes its time, another changes twice and a third leaves: what is loaded then is the newest."""
    put(tmp_path, "a", "1:first")
    load.gate.clear()
    repository = opened(waiting=False)
    assert load.begun.wait(30)
    for content in ("1:older", "1:newer"):
        for name in ("b", "c"):
            put(tmp_path, name, content)
        repository.refresh()
        repository.refresh()
    shutil.rmtree(tmp_path / "c")
    repository.refresh()
    load.gate.set()
    settle(repository)
    assert [(name, model.content) for name, model in load.made] == [("a", "1:first"), ("b", "1:newer")]


def test_closing_does_not_wait_for_what_is_being_loaded(tmp_path: Path, load: Loading, opened: Opening) -> None:
    """It says that something is, and what waits is not begun; idle, it says so."""
    put(tmp_path, "a", "1:a")
    put(tmp_path, "b", "1:b")
    load.gate.clear()
    repository = opened(waiting=False)
    assert load.begun.wait(30)
    assert not repository.close()
    load.gate.set()
    until(repository.close)
    assert load.names == ["a"]
    assert load.in_memory == set()
