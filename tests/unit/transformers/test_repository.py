"""The repository: models appear, reload, leave, share a budget of memory, and stay as long as a call uses them."""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from qkv_server.transformers.errors import ModelFileError
from qkv_server.transformers.repository.repository import (
    Entry,
    NoRoomError,
    Repository,
    State,
    UnknownNameError,
    UnusableError,
)


class Model:
    """A model that is the content of a file; its size is the number before the colon."""

    def __init__(self, content: str) -> None:
        self.content = content
        self.nbytes = int(content.partition(":")[0])
        self.closed = 0

    @property
    def description(self) -> str:
        return self.content

    def close(self) -> None:
        self.closed += 1


class Loading:
    """A `load` that notes what it made, and that can be held up."""

    def __init__(self) -> None:
        self.made: list[tuple[str, Model]] = []
        self.gate = threading.Event()
        self.gate.set()
        self.begun = threading.Event()

    def __call__(self, name: str, path: Path) -> Model:
        self.begun.set()
        assert self.gate.wait(30)
        content = (path / "model").read_text()
        if content.startswith("broken"):
            raise ModelFileError(path / "config.json", content)
        if content.startswith("defect"):
            raise ZeroDivisionError(content)
        model = Model(content)
        self.made.append((name, model))
        return model

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.made]


def put(folder: Path, name: str, content: str) -> None:
    """Write a model's file anew: another file takes its place, as a careful copy does."""
    (folder / name).mkdir(exist_ok=True)
    new = folder / name / ".new"
    new.write_text(content)
    new.rename(folder / name / "model")


@pytest.fixture
def load() -> Loading:
    return Loading()


Opening = Callable[..., Repository[Model]]


@pytest.fixture
def opened(tmp_path: Path, load: Loading) -> Iterator[Opening]:
    """Opens repositories of tmp_path, whose first models have been loaded."""
    with ExitStack() as stack:

        def opening(budget: int | None = None, *, waiting: bool = True) -> Repository[Model]:
            repository = Repository(tmp_path, load, budget)
            stack.callback(repository.close)
            if waiting:
                assert repository.wait(30)
            return repository

        yield opening
        load.gate.set()


def states(repository: Repository[Model]) -> dict[str, State]:
    return {entry.name: entry.state for entry in repository.entries()}


def in_memory(repository: Repository[Model]) -> set[str]:
    return {entry.name for entry in repository.entries() if entry.in_memory}


def refreshed(repository: Repository[Model], times: int = 2) -> None:
    """Refresh until what changed has rested from one refresh to the next, and is loaded."""
    for _ in range(times):
        repository.refresh()
    assert repository.wait(30)


def test_models_of_the_folder_are_loaded_at_the_start(tmp_path: Path, opened: Opening) -> None:
    """Each subfolder is a model, told by name with what can be told of it."""
    put(tmp_path, "b", "2:b")
    put(tmp_path, "a", "1:a")
    put(tmp_path, ".hidden", "3:c")
    (tmp_path / "README").write_text("no model")
    assert opened().entries() == [
        Entry("a", tmp_path / "a", State.READY, "", "1:a", 1, in_memory=True),
        Entry("b", tmp_path / "b", State.READY, "", "2:b", 2, in_memory=True),
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
    """Before its files are read a model is LOADING, and a lease is refused with that state."""
    load.gate.clear()
    put(tmp_path, "a", "1:a")
    repository = opened(waiting=False)
    assert states(repository) == {"a": State.LOADING}
    with pytest.raises(UnusableError, match="is being loaded") as caught, repository.lease("a"):
        pass
    assert caught.value.state is State.LOADING
    assert not repository.wait(0.01)
    load.gate.set()
    assert repository.wait(30)
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
    with pytest.raises(UnusableError, match="has no hidden_size") as caught, repository.lease("a"):
        pass
    assert caught.value.state is State.FAILED


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
        assert repository.wait(30)
        with repository.lease("a") as later:
            assert later.content == "1:new"
        assert under_way.closed == 0
    assert under_way.closed == 1
    assert later.closed == 0


def test_a_model_that_changed_for_the_worse_fails_and_can_be_mended(tmp_path: Path, opened: Opening) -> None:
    """Files that cannot be read any more are told, and the next good ones loaded."""
    put(tmp_path, "a", "1:good")
    repository = opened()
    put(tmp_path, "a", "broken")
    refreshed(repository)
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
    assert repository.wait(30)
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


def test_gguf_files_are_named_without_their_ending(tmp_path: Path) -> None:
    """A file's name is what is before .gguf, unless a folder has that name."""
    (tmp_path / "small.gguf").write_bytes(b"")
    (tmp_path / "other.gguf").write_bytes(b"")
    (tmp_path / "link").symlink_to(tmp_path / "other.gguf")
    put(tmp_path, "small", "1:small")
    loaded: list[str] = []

    def load(name: str, path: Path) -> Model:
        loaded.append(f"{name} {path.name}")
        return Model("1:x")

    repository = Repository(tmp_path, load)
    assert repository.wait(30)
    repository.close()
    assert sorted(loaded) == ["link link", "other other.gguf", "small small", "small.gguf small.gguf"]


def test_the_least_recently_used_model_makes_room(tmp_path: Path, load: Loading, opened: Opening) -> None:
    """Within the budget models stay; one more pushes out the one that was used longest ago, which stays READY."""
    for name in ("a", "b", "c"):
        put(tmp_path, name, f"4:{name}")
    repository = opened(8)
    assert set(states(repository).values()) == {State.READY}
    assert in_memory(repository) == {"b", "c"}
    with repository.lease("b"), repository.lease("a") as again:
        assert again.content == "4:a"
    assert in_memory(repository) == {"a", "b"}
    assert load.names == ["a", "b", "c", "a"]
    assert [model.closed for _, model in load.made] == [1, 0, 1, 0]


def test_models_in_use_are_never_let_go(tmp_path: Path, opened: Opening) -> None:
    """When the budget is taken by models in use, a call for one more is refused, and answered later."""
    for name in ("a", "b", "c"):
        put(tmp_path, name, f"4:{name}")
    repository = opened(8)
    with repository.lease("a"), repository.lease("b"):
        with pytest.raises(NoRoomError, match="needs 4 bytes of memory, and the models in use leave too little of 8"):
            repository.lease("c").__enter__()
        assert in_memory(repository) == {"a", "b"}
    with repository.lease("c") as model:
        assert model.content == "4:c"


def test_the_room_of_a_model_that_is_being_loaded_is_taken(tmp_path: Path, load: Loading, opened: Opening) -> None:
    """While one call loads a model, another cannot load one into the same room."""
    put(tmp_path, "a", "4:a")
    put(tmp_path, "b", "4:b")
    repository = opened(4)
    assert in_memory(repository) == {"b"}
    load.gate.clear()
    load.begun.clear()

    def call() -> None:
        with repository.lease("a"):
            pass

    thread = threading.Thread(target=call)
    thread.start()
    assert load.begun.wait(30)
    with pytest.raises(NoRoomError):
        repository.lease("b").__enter__()
    load.gate.set()
    thread.join(30)
    assert in_memory(repository) == {"a"}


def test_a_model_larger_than_the_budget_fails(tmp_path: Path, load: Loading, opened: Opening) -> None:
    """A model that could never be in memory says how much it needs; nothing is let go for it."""
    put(tmp_path, "a", "4:a")
    put(tmp_path, "b", "9:b")
    repository = opened(8)
    assert states(repository) == {"a": State.READY, "b": State.FAILED}
    assert repository.entry("b").reason == "needs 9 bytes of memory, more than the budget of 8"
    assert in_memory(repository) == {"a"}
    assert dict(load.made)["b"].closed == 1


def test_many_calls_for_a_model_that_was_let_go_load_it_once(tmp_path: Path, load: Loading, opened: Opening) -> None:
    """Whoever asks while it loads waits for the same model."""
    put(tmp_path, "a", "4:a")
    put(tmp_path, "b", "4:b")
    repository = opened(4)
    assert in_memory(repository) == {"b"}
    load.gate.clear()
    seen: list[Model] = []
    every = threading.Barrier(8)

    def call() -> None:
        with repository.lease("a") as model:
            seen.append(model)
            every.wait(30)

    threads = [threading.Thread(target=call) for _ in range(8)]
    for thread in threads:
        thread.start()
    load.gate.set()
    for thread in threads:
        thread.join(30)
    assert len(seen) == 8
    assert len(set(map(id, seen))) == 1
    assert load.names == ["a", "b", "a"]


def test_leases_from_many_threads_stay_within_the_budget(tmp_path: Path, opened: Opening) -> None:
    """Under contention every call gets the model that it asked for or is refused, and none is closed in use."""
    names = ["a", "b", "c", "d"]
    for name in names:
        put(tmp_path, name, f"3:{name}")
    repository = opened(7)
    wrong: list[str] = []
    answered = 0

    def call(number: int) -> None:
        nonlocal answered
        for turn in range(100):
            name = names[(number + turn * (number + 1)) % 4]
            try:
                with repository.lease(name) as model:
                    answered += 1
                    if model.content != f"3:{name}" or model.closed:
                        wrong.append(name)
                    if len(in_memory(repository)) > 2:
                        wrong.append("budget")
                    if model.closed:
                        wrong.append(name)
            except NoRoomError:
                pass

    threads = [threading.Thread(target=call, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert wrong == []
    assert answered > 0


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


def test_closing_lets_every_model_go(tmp_path: Path, load: Loading) -> None:
    """After close no model is open but those in use, which close when their calls end."""
    put(tmp_path, "a", "1:a")
    put(tmp_path, "b", "1:b")
    repository = Repository(tmp_path, load)
    assert repository.wait(30)
    with repository.lease("a") as model:
        repository.close()
        assert model.closed == 0
    assert [one.closed for _, one in load.made] == [1, 1]
