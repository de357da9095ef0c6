"""Models share a budget of memory: who makes room, who waits, and who is refused."""

import threading
from pathlib import Path

import pytest

from qkv_server.transformers.repository.repository import NoRoomError, State

from .text_models import Loading, Model, Opening, in_memory, put, states


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
