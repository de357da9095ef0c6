"""What goes wrong around answers in pieces: callers who leave, deadlines, more callers than streams, models that go."""

import asyncio
import contextlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from model_serving import GO, TINY_MODELS, serving_models
from serving import ServerProcess, until

import qkv

MINUTES_OF_WORK = f"{GO} " * 20_000  # thousands of parts to be summarized, one after another
ALONE = ("--streams", "1", "--stream-queue", "0")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A repository of two models, copied so that a test can change them."""
    for name in ("bert", "llama"):
        shutil.copytree(TINY_MODELS / name, tmp_path / name)
    return tmp_path


@pytest.fixture
def narrow(folder: Path) -> Iterator[ServerProcess]:
    """A server whose models work on one answer at a time, and let none wait."""
    with serving_models(folder, *ALONE, "--grace-seconds", "1") as server:
        yield server
        assert server.stop() == 0
    assert "Traceback" not in server.log


@pytest.fixture
def client(narrow: ServerProcess) -> Iterator[qkv.Client]:
    with qkv.Client(narrow.address, retries=False) as connected:
        yield connected


def is_free(client: qkv.Client) -> bool:
    """Whether the only stream of the model takes an answer."""
    try:
        client.generate(GO, max_tokens=1).read()
    except qkv.UnavailableError:
        return False
    return True


def test_models_need_not_be_named_where_one_alone_can(client: qkv.Client) -> None:
    """The one that embeds and the one that writes are found, also by Tokenize's refusal, which needs a name."""
    assert client.embed_result(["bear"]).model == "bert"
    assert client.generate(GO, max_tokens=1).read().model == "llama"
    assert client.chat([{"role": "user", "content": GO}], max_tokens=1).read().model == "llama"
    assert client.translate(GO, target="pt").read().model == "llama"
    with pytest.raises(qkv.InvalidRequestError, match="model: needed, since several are ready: bert, llama"):
        client.tokenize(["bear"])
    with pytest.raises(qkv.InvalidRequestError, match="target: needed, since llama is asked for any language"):
        client.translate(GO).read()


def test_one_answer_too_many_is_refused(client: qkv.Client) -> None:
    """While the only stream is taken, another call hears UNAVAILABLE and when to try again."""
    with client.summarize(MINUTES_OF_WORK) as answer:
        next(answer)
        with pytest.raises(qkv.UnavailableError) as refused:
            client.generate(GO).read()
        assert refused.value.reason == "OVERLOADED"
        assert refused.value.retry_delay == 1.0
        assert client.embed(["bear"]).shape == (1, 32)  # which another model does


def test_a_caller_who_leaves_frees_the_stream(client: qkv.Client) -> None:
    """An answer that was given up in the middle is worked on no more."""
    with client.summarize(MINUTES_OF_WORK) as answer:
        next(answer)
        assert not is_free(client)
    until(lambda: is_free(client))


def test_a_connection_that_is_gone_frees_the_stream(narrow: ServerProcess, client: qkv.Client) -> None:
    """The same when the whole client goes away."""
    gone = qkv.Client(narrow.address)
    answer = gone.summarize(MINUTES_OF_WORK)
    next(answer)
    assert not is_free(client)
    gone.close()
    until(lambda: is_free(client))


def test_a_task_that_is_cancelled_frees_the_stream(narrow: ServerProcess, client: qkv.Client) -> None:
    """The same when a task of asyncio is cancelled while it waits for the next piece."""

    async def give_up() -> None:
        async with qkv.AsyncClient(narrow.address) as own:
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(own.summarize(MINUTES_OF_WORK).read(), 1)

    asyncio.run(give_up())
    until(lambda: is_free(client))


def test_a_passed_deadline_frees_the_stream(client: qkv.Client) -> None:
    """An answer that takes longer than its timeout ends with DEADLINE_EXCEEDED, and is worked on no more."""
    with pytest.raises(qkv.DeadlineExceededError):
        client.summarize(MINUTES_OF_WORK, timeout=1.0).read()
    until(lambda: is_free(client))


def test_a_server_that_stops_ends_the_answers(narrow: ServerProcess, client: qkv.Client) -> None:
    """What outlasts the grace of a stopping server is ended as UNAVAILABLE or CANCELLED, and the server exits well."""
    with client.summarize(MINUTES_OF_WORK) as answer:
        next(answer)
        narrow.terminate()
        with pytest.raises((qkv.UnavailableError, qkv.CancelledError)):
            answer.read()
    assert narrow.stop() == 0


def test_a_hundred_answers_on_four_streams(folder: Path) -> None:
    """Of a hundred callers at once those that the queue holds are answered, alike, and the others are told to wait."""
    with serving_models(folder, "--streams", "4", "--stream-queue", "46", "--queue", "1000") as server:

        async def all_at_once() -> list[qkv.TextResult | BaseException]:
            async with qkv.AsyncClient(server.address, retries=False) as client:
                asking = [client.generate(GO, max_tokens=100) for _ in range(100)]
                return await asyncio.gather(*(answer.read() for answer in asking), return_exceptions=True)

        answers = asyncio.run(all_at_once())
        answered = [answer.text for answer in answers if isinstance(answer, qkv.TextResult)]
        refused = [answer.reason for answer in answers if isinstance(answer, qkv.UnavailableError)]
        assert len(answered) >= 50
        assert len(answered) + len(refused) == 100
        assert len(set(answered)) == 1
        assert set(refused) <= {"OVERLOADED"}
        assert server.stop() == 0
    assert "Traceback" not in server.log


def health_of(client: qkv.Client, name: str) -> qkv.Health | None:
    """What health says of a model; None if it knows none of that name."""
    try:
        return client.health(f"qkv.v1.ModelService/{name}")
    except qkv.NotFoundError:
        return None


def test_models_come_and_go_without_a_restart(client: qkv.Client, folder: Path) -> None:
    """A model that is put into the folder is served, and one that leaves it is not, which health says of each."""
    until(lambda: health_of(client, "bert") is qkv.Health.SERVING)
    assert health_of(client, "gpt2") is None
    shutil.copytree(TINY_MODELS / "gpt2", folder / "gpt2")
    until(lambda: health_of(client, "gpt2") is qkv.Health.SERVING)
    assert client.generate(GO, model="gpt2", max_tokens=1).read().model == "gpt2"
    shutil.rmtree(folder / "bert")
    until(lambda: health_of(client, "bert") is None)
    with pytest.raises(qkv.NotFoundError, match="no model 'bert', expected one of 'gpt2', 'llama'"):
        client.embed(["bear"], model="bert")
    with pytest.raises(qkv.NotFoundError, match="this server has no ready model that can embed"):
        client.embed(["bear"])
    config = json.loads((folder / "llama" / "config.json").read_text("utf-8"))
    broken = shutil.copytree(folder / "llama", folder / ".broken")
    (broken / "config.json").write_text(json.dumps(config | {"hidden_size": 33}), "utf-8")
    broken.rename(folder / "broken")
    until(lambda: health_of(client, "broken") is qkv.Health.NOT_SERVING)
    until(lambda: client.model("broken").state == "failed")
    assert client.health() is qkv.Health.SERVING


def test_an_answer_keeps_its_model(client: qkv.Client, folder: Path) -> None:
    """An answer that has begun goes on with the model that it has, while that leaves the folder."""
    with client.summarize(MINUTES_OF_WORK, model="llama") as answer:
        next(answer)
        shutil.rmtree(folder / "llama")
        until(lambda: [model.name for model in client.models()] == ["bert"])
        for _ in range(100):
            next(answer)


def test_a_server_without_models_says_so(server: ServerProcess) -> None:
    """Without --models the service is there, lists nothing, and finds nothing."""
    with qkv.Client(server.address) as client:
        assert client.models() == []
        assert client.health("qkv.v1.ModelService") is qkv.Health.SERVING
        with pytest.raises(qkv.NotFoundError, match="no model 'bert', there is none here"):
            client.model("bert")
        with pytest.raises(qkv.NotFoundError, match="this server has no ready model that can generate"):
            client.generate(GO).read()
        with pytest.raises(qkv.NotFoundError, match="no model 'bert', there is none here"):
            client.embed(["bear"], model="bert")


def test_models_share_the_memory_that_they_are_given(tmp_path: Path, model_client: qkv.Client) -> None:
    """With room for one model at a time two answer, one after the other, and one that is larger has failed."""
    room = model_client.model("bert").weight_bytes
    for name in ("bert", "distilbert", "roberta"):
        (tmp_path / name).symlink_to(TINY_MODELS / name)
    with serving_models(tmp_path, "--max-model-bytes", str(room)) as server, qkv.Client(server.address) as client:
        for name in ("bert", "distilbert", "bert"):
            assert client.embed_result(["bear"], model=name).model == name
        with pytest.raises(qkv.FailedPreconditionError, match=f"more than the budget of {room}"):
            client.embed(["bear"], model="roberta")
        assert server.stop() == 0


def test_memory_is_flat_after_many_answers(narrow: ServerProcess, client: qkv.Client) -> None:
    """A thousand answers leave no more memory in use than a hundred did, but for a few megabytes of whatever."""

    def resident() -> int:
        (line,) = [
            line
            for line in Path(f"/proc/{narrow.process.pid}/status").read_text("utf-8").splitlines()
            if line.startswith("VmRSS")
        ]
        return int(line.split()[1])

    def answer(count: int) -> None:
        for number in range(count):
            client.generate(f"{number} {GO}", max_tokens=3).read()

    answer(100)
    before = resident()
    answer(900)
    assert resident() - before < 20_000  # kilobytes
