"""Models share a budget of memory: who makes room, who has to come back, and who is refused."""

import threading
import time
from pathlib import Path

import pytest

from qkv_server.transformers.repository.entry import Entry, LoadingError, NoRoomError, State, UnusableError
from qkv_server.transformers.repository.record import LET_GO, LOADING

from .text_models import Loading, Opening, asked, put, refreshed, settle, states


def test_the_least_recently_used_model_makes_room(tmp_path: Path, load: Loading, opened: Opening) -> None:
    """Within the budget models stay; one more pushes out the one that was used longest ago, which stays READY."""
    for name in ("a", "b", "c"):
        put(tmp_path, name, f"4:{name}")
    repository = opened(8)
    assert set(states(repository).values()) == {State.READY}
    assert load.in_memory == {"b", "c"}
    assert repository.entry("a") == Entry("a", State.READY, LET_GO, "4:a")
    with repository.lease("b"), asked(repository, "a") as again:
        assert again.content == "4:a"
    assert repository.entry("a").reason == ""
    assert load.in_memory == {"a", "b"}
    assert load.names == ["a", "b", "c", "a"]
    assert [model.closed for _, model in load.made] == [1, 0, 1, 0]


def test_room_is_made_before_a_model_is_built(tmp_path: Path, load: Loading, opened: Opening) -> None:
    """A model that comes, or grows, never is in memory beside the idle ones that it has no room with."""
    put(tmp_path, "a", "4:a")
    put(tmp_path, "b", "4:b")
    repository = opened(8)
    put(tmp_path, "c", "4:c")
    refreshed(repository)
    assert (load.in_memory, load.peak) == ({"b", "c"}, 8)
    put(tmp_path, "d", "8:d")
    refreshed(repository)
    assert (load.in_memory, load.peak) == ({"d"}, 8)


def test_a_model_that_has_no_room_is_known_to_load(tmp_path: Path, load: Loading, opened: Opening) -> None:
    """While all others are in use one that comes is built beyond the budget, let go, and READY."""
    put(tmp_path, "a", "4:a")
    repository = opened(4)
    with repository.lease("a") as model:
        put(tmp_path, "b", "4:b")
        refreshed(repository)
        assert (load.in_memory, load.peak, model.closed) == ({"a"}, 8, 0)
    assert repository.entry("b") == Entry("b", State.READY, LET_GO, "4:b")


def test_models_in_use_are_never_let_go(tmp_path: Path, load: Loading, opened: Opening) -> None:
    """When the budget is taken by models in use, a call for one more is refused, and answered later."""
    for name in ("a", "b", "c"):
        put(tmp_path, name, f"4:{name}")
    repository = opened(8)
    with asked(repository, "a"), asked(repository, "b"):
        with pytest.raises(NoRoomError, match="needs 4 bytes of memory, and the models in use leave too little of 8"):
            repository.lease("c").__enter__()
        assert load.in_memory == {"a", "b"}
    with asked(repository, "c") as model:
        assert model.content == "4:c"


def test_a_call_for_a_model_that_was_let_go_does_not_wait(tmp_path: Path, load: Loading, opened: Opening) -> None:
    """It has the model loaded, and comes back; so do those that come meanwhile, and it is loaded once."""
    put(tmp_path, "a", "4:a")
    put(tmp_path, "b", "4:b")
    repository = opened(4)
    assert load.in_memory == {"b"}
    load.gate.clear()
    for _ in range(8):
        with pytest.raises(LoadingError):
            repository.lease("a").__enter__()
    assert repository.entry("a") == Entry("a", State.READY, LOADING, "4:a")
    with pytest.raises(NoRoomError):  # the room of the one that is coming is taken
        repository.lease("b").__enter__()
    load.gate.set()
    settle(repository)
    assert load.in_memory == {"a"}
    assert load.names == ["a", "b", "a"]


def test_a_call_hears_how_long_it_took_to_load_the_model(tmp_path: Path, load: Loading, opened: Opening) -> None:
    """What is loaded again takes about as long as the last time; of the first time nothing is known."""
    put(tmp_path, "a", "4:a")
    put(tmp_path, "b", "4:b")
    load.gate.clear()
    repository = opened(4, waiting=False)
    with pytest.raises(LoadingError) as first:
        repository.lease("a").__enter__()
    assert first.value.seconds == 0
    time.sleep(0.05)
    load.gate.set()
    settle(repository)
    load.gate.clear()
    with pytest.raises(LoadingError) as again:
        repository.lease("a").__enter__()
    assert again.value.seconds >= 0.05
    with pytest.raises(NoRoomError) as room:
        repository.lease("b").__enter__()
    assert room.value.seconds == again.value.seconds


def test_a_model_that_was_loaded_for_a_call_is_kept_for_it(tmp_path: Path, load: Loading, opened: Opening) -> None:
    """Two models that have room for one answer in turn: who is asked for later waits until the first has answered."""
    put(tmp_path, "a", "4:a")
    put(tmp_path, "b", "4:b")
    repository = opened(4)
    for first, second in (("a", "b"), ("b", "a"), ("a", "b")):
        with pytest.raises(LoadingError):
            repository.lease(first).__enter__()
        settle(repository)
        with pytest.raises(NoRoomError):
            repository.lease(second).__enter__()
        with repository.lease(first) as model:
            assert model.content == f"4:{first}"
    assert load.names == ["a", "b", "a", "b", "a"]


def test_a_call_that_does_not_come_back_is_not_waited_for(
    tmp_path: Path, load: Loading, opened: Opening, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After its time a model that nobody fetched makes room like any other."""
    monkeypatch.setattr("qkv_server.transformers.repository.repository.AWAITED_SECONDS", -60.0)  # as if they had passed
    put(tmp_path, "a", "4:a")
    put(tmp_path, "b", "4:b")
    repository = opened(4)
    with pytest.raises(LoadingError):
        repository.lease("a").__enter__()
    settle(repository)
    with asked(repository, "b"):
        assert load.in_memory == {"b"}


def test_a_new_model_does_not_hold_up_one_that_was_let_go(tmp_path: Path, opened: Opening) -> None:
    """While the files of a new one are read, which may take minutes, those that are known are loaded again."""
    put(tmp_path, "a", "4:a")
    put(tmp_path, "b", "4:b")
    repository = opened(4)
    put(tmp_path, "c", "4:slow")
    repository.refresh()
    repository.refresh()
    with pytest.raises(LoadingError):
        repository.lease("a").__enter__()
    repository._recaller.submit(lambda: None).result(30)
    with repository.lease("a"):
        assert states(repository)["c"] is State.LOADING


def test_a_model_larger_than_the_budget_fails(
    tmp_path: Path, load: Loading, opened: Opening, caplog: pytest.LogCaptureFixture
) -> None:
    """It says how much it needs, also in the log, and is not made; nothing is let go for it."""
    put(tmp_path, "a", "4:a")
    put(tmp_path, "b", "9:b")
    repository = opened(8)
    assert states(repository) == {"a": State.READY, "b": State.FAILED}
    assert repository.entry("b").reason == "b: needs 9 bytes of memory, more than the budget of 8"
    assert [each.getMessage() for each in caplog.records if each.levelname == "WARNING"] == [
        "model b is not loaded: b: needs 9 bytes of memory, more than the budget of 8"
    ]
    assert load.names == ["a"]
    assert load.in_memory == {"a"}


def test_a_model_whose_files_are_broken_is_lost_when_it_makes_room(tmp_path: Path, opened: Opening) -> None:
    """One that answers although its files cannot be loaded any more has FAILED when it is let go, until they change."""
    put(tmp_path, "a", "4:a")
    put(tmp_path, "b", "4:b")
    repository = opened(4)
    put(tmp_path, "b", "broken")
    refreshed(repository)
    assert repository.entry("b").state is State.READY
    with asked(repository, "a"):
        assert repository.entry("b") == Entry("b", State.FAILED, "config.json: broken", None)
    with pytest.raises(UnusableError, match="broken"):
        repository.lease("b").__enter__()
    put(tmp_path, "b", "4:mended")
    refreshed(repository)
    assert repository.entry("b").state is State.READY


def test_files_that_change_while_a_model_is_loaded_again_win(tmp_path: Path, load: Loading, opened: Opening) -> None:
    """What was made of the files before does not take the place of what they are now."""
    put(tmp_path, "a", "4:old")
    put(tmp_path, "b", "4:b")
    repository = opened(4)
    load.gate.clear()
    load.begun.clear()
    with pytest.raises(LoadingError):
        repository.lease("a").__enter__()
    assert load.begun.wait(30)
    put(tmp_path, "a", "4:new")
    repository.refresh()
    repository.refresh()
    load.gate.set()
    settle(repository)
    with repository.lease("a") as model:
        assert model.content == "4:new"
    assert [model.content for _, model in load.made if not model.closed] == ["4:new"]


def test_leases_from_many_threads_stay_within_the_budget(
    tmp_path: Path, load: Loading, opened: Opening, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under contention every call gets the model that it asked for or is refused, and none is closed in use."""
    names = ["a", "b", "c", "d"]
    for name in names:
        put(tmp_path, name, f"3:{name}")
    repository = opened(7)
    wrong: list[str] = []
    answered = 0
    monkeypatch.setattr("qkv_server.transformers.repository.repository.AWAITED_SECONDS", 0.001)

    def call(number: int) -> None:
        nonlocal answered
        for turn in range(100):
            name = names[(number + turn * (number + 1)) % 4]
            try:
                with repository.lease(name) as model:
                    answered += 1
                    if model.content != f"3:{name}" or model.closed:
                        wrong.append(name)
                    if len(load.in_memory) > 2:
                        wrong.append("budget")
                    if model.closed:
                        wrong.append(name)
            except (NoRoomError, LoadingError):
                time.sleep(0.0005)

    threads = [threading.Thread(target=call, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert wrong == []
    assert answered > 0
