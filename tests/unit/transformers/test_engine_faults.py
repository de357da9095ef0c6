"""What an engine does when clients vanish, models break, and more comes than it can do."""

import gc
import threading
import time
import tracemalloc
import weakref

import pytest
from serving import until

from qkv_server.transformers.generation.engine import Load
from qkv_server.transformers.generation.request import (
    ContextOverflowError,
    EmptyPromptError,
    Event,
    FinishReason,
    GenerationRequest,
    Piece,
    QueueFullError,
    RefusedError,
)
from qkv_server.transformers.generation.sampling import NotFiniteError
from qkv_server.transformers.generation.streams import DecoderStreams

from .asking import ask, echo
from .echo_model import EchoModel, engine_of, prompt
from .receiver import SECONDS, Receiver


def test_a_hundred_at_once_finish_or_are_refused(held: EchoModel) -> None:
    """Of 100 requests on 4 streams and a queue of 16, 20 are answered, and 80 hear that the queue is full."""
    assert held.turns
    engine = engine_of(held, queue=16)
    admitted, refused = [], []
    for n in range(100):
        try:
            admitted.append((f"number {n}", ask(engine, f"number {n}")))
        except QueueFullError as error:
            refused.append(str(error))
    assert (len(admitted), len(refused)) == (20, 80)
    assert set(refused) == {"no further stream can begin, and the queue of 16 is full"}
    held.turns.release(10_000)
    for text, receiver in admitted:
        receiver.finished()
        assert receiver.text == text
    assert echo(engine, "again") == "again"


def test_as_many_streams_are_worked_on_as_memory_holds(held: EchoModel) -> None:
    """A request begins when its stream has room at its longest; those behind it wait, and count as waiting."""
    assert held.turns
    engine = engine_of(held, streams=8, tokens=100, queue=2, chunk=100)
    receivers = [ask(engine, "four", max_tokens=28) for _ in range(5)]  # 33 tokens each
    with pytest.raises(QueueFullError):
        ask(engine, "a", max_tokens=1)  # would find room, but comes last
    held.turns.release(10_000)
    for receiver in receivers:
        receiver.finished()
        assert receiver.text == "four"
    assert max(call.streams for call in held.calls) == 3


def test_an_answer_is_no_longer_than_memory_holds() -> None:
    """Alone it may take all memory for streams; a longer one, or a prompt that leaves none, is refused in numbers."""
    model = EchoModel()
    engine = engine_of(model, tokens=20)
    receiver = ask(engine, "x" * 15)
    assert receiver.finished().reason == FinishReason.LENGTH
    assert receiver.text == "xxxx"
    model.calls.clear()
    with pytest.raises(ContextOverflowError, match="max_tokens is 5, the answer to this prompt may have 4"):
        ask(engine, "x" * 15, max_tokens=5)
    message = "the prompt has 20 tokens, and to read them takes 2100 bytes, expected at most 2000"
    with pytest.raises(ContextOverflowError, match=message):
        ask(engine, "x" * 19)
    assert model.calls == []


def test_cancelled_in_the_queue_it_never_begins(held: EchoModel) -> None:
    """A request that is cancelled while it waits leaves its place at once, and the model never reads it."""
    assert held.turns
    engine = engine_of(held, streams=1, queue=1)
    first, cancelled = ask(engine, "first"), Receiver()
    assert held.called.acquire(timeout=SECONDS)
    handle = engine.submit(GenerationRequest(prompt=prompt("cancelled")), cancelled)
    with pytest.raises(QueueFullError):
        ask(engine, "last")
    handle.cancel()
    last = ask(engine, "last")
    held.turns.release(10_000)
    first.finished()
    last.finished()
    assert (cancelled.pieces, cancelled.last) == ([], None)
    assert [call.tokens for call in held.calls if call.method == "prefill"] == [6, 5]


def test_cancelled_in_prefill_it_reads_no_further(held: EchoModel) -> None:
    """A request that is cancelled while its prompt is read gives its slot to the next one after the chunk under way."""
    assert held.turns
    engine = engine_of(held, streams=1)
    cancelled = Receiver()
    handle = engine.submit(GenerationRequest(prompt=prompt("x" * 200)), cancelled)
    last = ask(engine, "last")
    assert held.called.acquire(timeout=SECONDS)
    handle.cancel()
    held.turns.release(10_000)
    last.finished()
    assert [call.tokens for call in held.calls if call.method == "prefill"] == [16, 5]
    assert (cancelled.pieces, cancelled.last) == ([], None)


def test_cancelled_in_decode_it_ends_at_the_next_token(held: EchoModel) -> None:
    """A request that is cancelled while it answers takes no step but the one under way, and nothing more is told."""
    assert held.turns
    engine = engine_of(held, streams=1)
    cancelled = Receiver()
    handle = engine.submit(GenerationRequest(prompt=prompt("x" * 10)), cancelled)
    last = ask(engine, "last")
    held.turns.release(3)  # the prompt, and two steps
    for _ in range(4):
        assert held.called.acquire(timeout=SECONDS)
    handle.cancel()
    held.turns.release(10_000)
    last.finished()
    assert cancelled.text == "xxx"
    assert cancelled.last is None
    assert [call.method for call in held.calls][:5] == ["prefill", "step", "step", "step", "prefill"]


def test_a_receiver_that_fails_frees_its_slot(caplog: pytest.LogCaptureFixture) -> None:
    """Where nobody takes the events any more, the request ends, and others go on."""
    engine = engine_of(EchoModel(), streams=1)
    told = []

    def vanished(event: Event) -> None:
        told.append(event)
        raise RuntimeError("the event loop is closed")

    engine.submit(GenerationRequest(prompt=prompt("somebody")), vanished)
    assert echo(engine, "other") == "other"
    assert told == [Piece("s")]
    assert "the receiver of a generation failed" in caplog.text


def test_what_does_not_fit_is_refused_before_any_work() -> None:
    """More tokens than the context or the engine allows, and no tokens at all, are refused, in numbers."""
    model = EchoModel(context_tokens=20)
    engine = engine_of(model, most=10)
    for text, most, error, message in (
        ("x" * 19, 0, ContextOverflowError, "the prompt has 20 tokens, the model reads 20, answer included"),
        ("x" * 15, 5, ContextOverflowError, "max_tokens is 5, the answer to this prompt may have 4"),
        ("x", 11, ContextOverflowError, "max_tokens is 11, the answer to this prompt may have 10"),
    ):
        with pytest.raises(error, match=message):
            ask(engine, text, max_tokens=most)
    with pytest.raises(EmptyPromptError):
        engine.submit(GenerationRequest(prompt=()), Receiver())
    assert issubclass(EmptyPromptError, RefusedError)
    assert model.calls == []


def test_a_step_that_fails_fails_its_streams_and_no_later_ones() -> None:
    """An error of the model is the last event of the streams that it was computing; the next request is answered."""
    model = EchoModel()
    engine = engine_of(model)
    model.broken = MemoryError("no memory for a step")
    assert isinstance(ask(engine, "broken").failed(), MemoryError)
    assert echo(engine, "next") == "next"
    assert engine.load == Load(0, 0)


def test_logits_that_are_no_numbers_fail_their_stream_alone() -> None:
    """Where the arithmetic of one stream has broken, the others of the same step go on."""
    model = EchoModel()
    model.not_a_number = b"bad"
    engine = engine_of(model)
    good, bad = ask(engine, "good " * 5), ask(engine, "bad")
    assert isinstance(bad.failed(), NotFiniteError)
    good.finished()
    assert good.text == "good " * 5


def test_an_engine_that_breaks_leaves_nobody_waiting(held: EchoModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the engine itself fails, between two steps, all requests hear of it, and later ones are answered."""
    assert held.turns
    engine = engine_of(held, streams=2)
    cancelled = engine.submit(GenerationRequest(prompt=prompt("cancelled")), Receiver())
    running, waiting = ask(engine, "running"), ask(engine, "waiting")
    assert held.called.acquire(timeout=SECONDS)
    cancelled.cancel()
    with monkeypatch.context() as patch:
        patch.setattr(DecoderStreams, "end", raise_memory_error)
        held.turns.release(10_000)
        assert isinstance(running.failed(), MemoryError)
        assert isinstance(waiting.failed(), MemoryError)
    assert echo(engine, "next") == "next"


def test_threads_may_submit_and_cancel_at_any_time() -> None:
    """Requests of many threads, a third of them cancelled at some time, end as they should, and none stays behind."""
    engine = engine_of(EchoModel(), queue=1000, prefixes=10**6)
    finished: list[tuple[str, Receiver]] = []

    def client(number: int) -> None:
        for n in range(40):
            text, receiver = f"request {n} of client {number} " * (n % 3 + 1), Receiver()
            handle = engine.submit(GenerationRequest(prompt=prompt(text)), receiver)
            if n % 3 == number % 3:
                time.sleep(n % 5 / 1000)
                handle.cancel()
            else:
                finished.append((text, receiver))

    clients = [threading.Thread(target=client, args=(number,)) for number in range(8)]
    for thread in clients:
        thread.start()
    for thread in clients:
        thread.join(SECONDS)
    assert len(finished) > 200
    for text, receiver in finished:
        receiver.finished()
        assert receiver.text == text
    until(lambda: engine.load == Load(0, 0))


def raise_memory_error(*_: object) -> None:
    raise MemoryError


def test_an_engine_without_requests_has_no_thread_and_can_go() -> None:
    """Once its last answer has ended, an engine that nobody holds is gone at once, and the model's memory with it."""

    def answered() -> "weakref.ref[EchoModel]":
        model = EchoModel()
        assert echo(engine_of(model), "text") == "text"
        return weakref.ref(model)

    gc.disable()
    try:
        gone = answered()
        until(lambda: gone() is None)
    finally:
        gc.enable()
    until(lambda: "qkv-engine" not in {thread.name for thread in threading.enumerate()})


def test_memory_is_flat_after_a_thousand_generations() -> None:
    """A thousand answers, finished, stopped and cancelled, leave no more behind than two hundred did."""
    model = EchoModel()
    engine = engine_of(model, prefixes=200 * 100 * 20)

    def generations(count: int) -> None:
        for n in range(0, count, 4):
            cancelled = Receiver()
            texts = [f"generation {n + i} of many, of the same length" for i in range(3)]
            handle = engine.submit(GenerationRequest(prompt=prompt("cancelled" * 9)), cancelled)
            receivers = [ask(engine, text, stop=("length",) if i else ()) for i, text in enumerate(texts)]
            handle.cancel()
            for receiver in receivers:
                receiver.finished()
        model.calls.clear()
        gc.collect()

    tracemalloc.start()
    try:
        generations(200)
        before = tracemalloc.get_traced_memory()[0]
        generations(1000)
        assert tracemalloc.get_traced_memory()[0] - before < 100_000
    finally:
        tracemalloc.stop()
    until(lambda: engine.load == Load(0, 0))
