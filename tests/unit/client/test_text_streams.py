"""Text in pieces, read by both clients from a server of the test's own: what a real one cannot be made to answer."""

import asyncio
import contextlib
from collections.abc import Callable, Iterator

import grpc
import pytest
from model_serving import Endless, stand_in_writer
from serving import SECONDS

import qkv
from qkv.v1 import models_pb2
from qkv.v1.models_pb2 import FINISH_REASON_END, GenerateRequest, GenerateResponse

Read = Callable[[str], "tuple[list[str], qkv.TextResult]"]

USAGE = models_pb2.Usage(
    input_tokens=3,
    cached_tokens=1,
    output_tokens=4,
    queue_seconds=0.25,
    first_token_seconds=0.5,
    total_seconds=1.75,
)
LAST = GenerateResponse(finish_reason=FINISH_REASON_END, usage=USAGE, model="tiny", seed=2**64 - 1)


def by_client(address: str) -> tuple[list[str], qkv.TextResult]:
    with qkv.Client(address, retries=False) as client, client.generate("go") as answer:
        return list(answer), answer.result


def by_async_client(address: str) -> tuple[list[str], qkv.TextResult]:
    async def read() -> tuple[list[str], qkv.TextResult]:
        async with qkv.AsyncClient(address, retries=False) as client, client.generate("go") as answer:
            return [piece async for piece in answer], answer.result

    return asyncio.run(read())


@pytest.fixture(params=[by_client, by_async_client])
def read(request: pytest.FixtureRequest) -> Read:
    """Reads an answer by one of the clients: its pieces, and its result."""
    chosen: Read = request.param
    return chosen


def test_pieces_are_the_text_that_comes(read: Read) -> None:
    """Every piece that has text is handed out as it is, one that has none is not, and the result is all of it."""

    def generate(_: GenerateRequest, __: grpc.ServicerContext) -> Iterator[GenerateResponse]:
        for text in ("Bears", "", " love", " honey 🍯", ""):
            yield GenerateResponse(text=text)
        yield LAST

    with stand_in_writer(generate) as address:
        pieces, result = read(address)
    assert pieces == ["Bears", " love", " honey 🍯"]
    assert result.text == "Bears love honey 🍯"
    assert (result.finish_reason, result.model, result.seed) == ("end", "tiny", 2**64 - 1)
    assert result.usage == qkv.Usage(3, 1, 4, 0.25, 0.5, 1.75)
    assert result.tokens == ()


def test_text_of_the_last_message_counts(read: Read) -> None:
    """A message may have text and be the last."""
    last = GenerateResponse()
    last.CopyFrom(LAST)
    last.text = "all"
    last.ClearField("seed")
    with stand_in_writer(lambda *_: iter([last])) as address:
        pieces, result = read(address)
    assert (pieces, result.text, result.seed) == (["all"], "all", None)


def test_an_end_of_another_kind_is_told_by_its_number(read: Read) -> None:
    """A reason to end that only a newer server knows makes no answer unreadable."""
    last = GenerateResponse.FromString(LAST.SerializeToString() + b"\x18\x63")  # finish_reason: 99
    with stand_in_writer(lambda *_: iter([GenerateResponse(text="a"), last])) as address:
        _, result = read(address)
    assert (result.text, result.finish_reason) == ("a", "99")


def test_log_probabilities_are_in_the_result(read: Read) -> None:
    """Tokens, their log-probabilities and those of the likeliest are told in the order in which they came."""
    first = GenerateResponse(text="a")
    first.tokens.add().token.CopyFrom(models_pb2.TokenProbability(id=5, piece="a", log_probability=-0.5))
    second = GenerateResponse(text="b")
    likeliest = [models_pb2.TokenProbability(id=7, piece="c", log_probability=-0.25)]
    token = models_pb2.TokenProbability(id=6, piece="b", log_probability=-2)
    second.tokens.add(token=token, likeliest=likeliest)
    with stand_in_writer(lambda *_: iter([first, second, LAST])) as address:
        _, result = read(address)
    assert result.tokens == (
        qkv.GeneratedToken(qkv.TokenProbability(5, "a", -0.5), ()),
        qkv.GeneratedToken(qkv.TokenProbability(6, "b", -2.0), (qkv.TokenProbability(7, "c", -0.25),)),
    )


def test_an_error_in_the_middle_is_raised_there(read: Read) -> None:
    """What fails after the first pieces raises the same errors as a call that fails at once."""

    def generate(_: GenerateRequest, context: grpc.ServicerContext) -> Iterator[GenerateResponse]:
        yield GenerateResponse(text="so far")
        context.abort(grpc.StatusCode.UNAVAILABLE, "the server is stopping")

    with stand_in_writer(generate) as address, pytest.raises(qkv.UnavailableError, match="the server is stopping"):
        read(address)


def test_an_answer_without_an_end_has_no_result(read: Read) -> None:
    """A stream that is over without saying why is no finished answer."""
    with stand_in_writer(lambda *_: iter([GenerateResponse(text="a")])) as address, pytest.raises(qkv.UnfinishedError):
        read(address)


def test_leaving_the_context_gives_the_rest_up() -> None:
    """The server hears that the answer is not wanted any more, and the result stays unknown."""
    endless = Endless()
    with stand_in_writer(endless) as address, qkv.Client(address) as client:
        with client.generate("go") as answer:
            assert next(answer) == "x"
            assert not endless.given_up.is_set()
        assert endless.given_up.wait(SECONDS)
        with pytest.raises(qkv.UnfinishedError):
            _ = answer.result
        with pytest.raises(qkv.CancelledError):
            answer.read()


def test_leaving_the_asynchronous_context_gives_the_rest_up() -> None:
    """The same for asyncio; and so does a task that is cancelled while it reads."""

    async def leave(address: str, _: Endless) -> None:
        async with qkv.AsyncClient(address) as client, client.generate("go") as answer:
            assert await anext(answer) == "x"

    async def cancelled(address: str, endless: Endless) -> None:
        async with qkv.AsyncClient(address) as client:
            reading = asyncio.create_task(client.generate("go").read())
            assert await asyncio.to_thread(endless.begun.wait, SECONDS)
            reading.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await reading
            assert reading.cancelled()

    for give_up in (leave, cancelled):
        endless = Endless()
        with stand_in_writer(endless) as address:
            asyncio.run(give_up(address, endless))
            assert endless.given_up.wait(SECONDS)


def test_an_answer_has_the_deadline_that_it_was_given_and_no_other() -> None:
    """The client's own timeout is for answers in one piece; a stream ends by the timeout of its call."""

    def generate(_: GenerateRequest, context: grpc.ServicerContext) -> Iterator[GenerateResponse]:
        remaining = context.time_remaining()
        yield GenerateResponse(text="bounded" if remaining is not None and remaining < SECONDS else "unbounded")
        yield LAST

    with stand_in_writer(generate) as address, qkv.Client(address, timeout=1.0) as client:
        assert client.generate("go").read().text == "unbounded"
        assert client.generate("go", timeout=5.0).read().text == "bounded"


def test_a_passed_deadline_is_told() -> None:
    """A stream that takes longer than its timeout raises DeadlineExceededError after what has come."""
    with stand_in_writer(Endless()) as address, qkv.Client(address) as client:
        answer = client.generate("go", timeout=0.3)
        assert next(answer) == "x"
        with pytest.raises(qkv.DeadlineExceededError):
            answer.read()


def test_a_closed_client_streams_nothing() -> None:
    """A stream that is begun on a closed client is refused, and one under way is ended, both as cancelled."""
    with stand_in_writer(Endless()) as address:
        client = qkv.Client(address)
        answer = client.generate("go")
        assert next(answer) == "x"
        client.close()
        with pytest.raises(qkv.CancelledError):
            answer.read()
        with pytest.raises(qkv.CancelledError, match="the client is closed"):
            client.generate("go")


def test_a_closed_asynchronous_client_streams_nothing() -> None:
    """The same for asyncio."""

    async def close(address: str) -> None:
        client = qkv.AsyncClient(address)
        answer = client.generate("go")
        assert await anext(answer) == "x"
        await client.close()
        with pytest.raises(qkv.CancelledError):
            await answer.read()
        with pytest.raises(qkv.CancelledError, match="the client is closed"):
            client.generate("go")

    with stand_in_writer(Endless()) as address:
        asyncio.run(close(address))
