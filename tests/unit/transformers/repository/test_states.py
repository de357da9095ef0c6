"""What a repository says of its models: loading, ready, failed; and how they are lent and closed."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from qkv_server.transformers.repository.entry import Entry, LoadingError, State, UnknownNameError, UnusableError
from qkv_server.transformers.repository.repository import Repository

from .text_models import Loading, Model, Opening, put, refreshed, settle, states


def test_models_of_the_folder_are_loaded_at_the_start(tmp_path: Path, opened: Opening) -> None:
    """Each subfolder is a model, told by name with what can be told of it."""
    put(tmp_path, "b", "2:b")
    put(tmp_path, "a", "1:a")
    put(tmp_path, ".hidden", "3:c")
    (tmp_path / "README").write_text("no model")
    assert opened().entries() == [
        Entry("a", State.READY, "", "1:a"),
        Entry("b", State.READY, "", "2:b"),
    ]


def test_a_model_is_leased(tmp_path: Path, opened: Opening) -> None:
    """A lease gives the loaded model; a name that is not there is an error of its own."""
    put(tmp_path, "a", "1:a")
    repository = opened()
    with repository.lease("a") as model:
        assert model.content == "1:a"
    with pytest.raises(UnknownNameError), repository.lease("b"):
        pass
    with pytest.raises(UnknownNameError):
        repository.entry("b")


def test_a_model_is_loading_until_it_is_loaded(tmp_path: Path, load: Loading, opened: Opening) -> None:
    """Before its files are read a model is LOADING, and a lease is refused as what will be possible."""
    load.gate.clear()
    put(tmp_path, "a", "1:a")
    repository = opened(waiting=False)
    assert states(repository) == {"a": State.LOADING}
    assert repository.entry("a") == Entry("a", State.LOADING, "is being loaded", None)
    with pytest.raises(LoadingError), repository.lease("a"):
        pass
    load.gate.set()
    settle(repository)
    assert states(repository) == {"a": State.READY}


def test_a_model_that_fails_says_why_and_leaves_the_others_alone(tmp_path: Path, opened: Opening) -> None:
    """A file error is the reason; a defect of ours is told without its inner parts; the others are ready."""
    put(tmp_path, "a", "broken: has no hidden_size")
    put(tmp_path, "b", "defect")
    put(tmp_path, "c", "1:c")
    repository = opened()
    assert states(repository) == {"a": State.FAILED, "b": State.FAILED, "c": State.READY}
    assert repository.entry("a").reason == "config.json: broken: has no hidden_size"
    assert "internal error" in repository.entry("b").reason
    assert "ZeroDivisionError" not in repository.entry("b").reason
    with pytest.raises(UnusableError, match="has no hidden_size"), repository.lease("a"):
        pass


def test_changes_are_told_when_they_can_be_seen(tmp_path: Path, load: Loading) -> None:
    """Whoever is told of a change sees it: a model that appears, is ready, has failed, or has left."""
    told: list[dict[str, State]] = []
    watched: list[Repository[Model]] = []
    repository = Repository(tmp_path, load, on_change=lambda: told.extend(map(states, watched)))
    watched.append(repository)

    def seen_after(change: Callable[[], object]) -> list[dict[str, State]]:
        told.clear()
        change()
        refreshed(repository)
        return told

    appeared = seen_after(lambda: put(tmp_path, "a", "1:a"))
    assert {"a": State.LOADING} in appeared
    assert appeared[-1] == {"a": State.READY}
    assert seen_after(lambda: put(tmp_path, "b", "broken"))[-1] == {"a": State.READY, "b": State.FAILED}
    assert seen_after(lambda: shutil.rmtree(tmp_path / "a"))[-1] == {"b": State.FAILED}
    repository.close()


def test_closing_lets_every_model_go(tmp_path: Path, load: Loading) -> None:
    """After close no model is open but those in use, which close when their calls end."""
    put(tmp_path, "a", "1:a")
    put(tmp_path, "b", "1:b")
    repository = Repository(tmp_path, load)
    settle(repository)
    with repository.lease("a") as model:
        repository.close()
        assert model.closed == 0
    assert [one.closed for _, one in load.made] == [1, 1]
