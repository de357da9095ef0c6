"""Calls that embed at the same time: what they share, in which order, and what of them others do not feel."""

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from functools import cache
from typing import Any, cast

import numpy as np
import pytest
from tiny_models import FOLDER

from qkv_server.core import Cancellation, CancelledError
from qkv_server.transformers.files import read_model
from qkv_server.transformers.loading import load
from qkv_server.transformers.stacks import embedding_queue
from qkv_server.transformers.stacks.embedding import PACK_TOKENS, Array, Pooling
from qkv_server.transformers.stacks.embedding_queue import EmbeddingQueue
from qkv_server.transformers.stacks.encoder_model import EncoderModel

SECONDS = 60
LONG = [[2, *range(10, 24), 3]] * (3 * PACK_TOKENS // 16)  # a call of three packs
SHORT = [[2, 9, 3]]


@cache
def tiny() -> EncoderModel:
    model = load(read_model(FOLDER / "bert"))
    assert isinstance(model, EncoderModel)
    return model


class Bench:
    """A queue whose turns come when a test says so, and what its model was given in each."""

    def __init__(self) -> None:
        self.line: deque[Callable[[], None]] = deque()
        self.packs: list[list[int]] = []  # the lengths of their texts
        self.broken: Exception | None = None  # what the next pack raises
        self.queue = EmbeddingQueue(replace(tiny(), encoder=cast("Any", self)))  # which is called like one

    def __call__(self, x: Array, lengths: Sequence[int]) -> Array:
        """The encoder, watched."""
        self.packs.append(list(lengths))
        if self.broken is not None:
            error, self.broken = self.broken, None
            raise error
        return tiny().encoder(x, lengths)

    def submit(self, texts: Sequence[Sequence[int]], threads: int = 1, **options: Any) -> Future[Array]:
        return self.queue.submit(texts, later=self.line.append, threads=threads, **options)

    def turn(self) -> None:
        """Whoever is first in the line has its turn."""
        self.line.popleft()()

    def turns(self) -> None:
        """All have their turns."""
        while self.line:
            self.turn()


def same(answer: Future[Array], texts: Sequence[Sequence[int]], *made: Any) -> None:
    """The answer is there, and it is that of the model alone, whose random weights take roundings apart."""
    np.testing.assert_allclose(answer.result(0), tiny().embed(texts, *made), rtol=0, atol=1e-5)


def test_calls_that_wait_share_a_pack() -> None:
    """What has come when a thread is free is computed at once, the longest first, each as it was asked."""
    bench = Bench()
    asked = [
        ([[2, 9, 3], [2, 10, 11, 12, 3], []], Pooling.MEAN, False),
        ([[2, 14, 3]], Pooling.LAST, True),
        ([[2, 50, 60, 3]], Pooling.CLS, False),
    ]
    answers = [bench.submit(texts, pooling=how, normalized=normalized) for texts, how, normalized in asked]
    bench.turn()
    assert bench.packs == [[5, 4, 3, 3]]
    for answer, (texts, pooling, normalized) in zip(answers, asked, strict=True):
        same(answer, texts, pooling, normalized)
    assert not bench.line


def test_nobody_waits_for_company() -> None:
    """A lone call is computed in the first turn, and one that comes while it is computed in another thread's."""
    bench = Bench()
    first = bench.submit(SHORT, threads=2)
    second = bench.submit(SHORT, threads=2)
    assert len(bench.line) == 2
    bench.turn()
    assert first.done()
    assert not second.done()
    bench.turn()
    same(second, SHORT)
    assert bench.packs == [[3], [3]]


def test_no_more_turns_than_threads_are_asked_for() -> None:
    """However many calls wait, they ask for no more threads than there are, and for none when nothing waits."""
    bench = Bench()
    answers = [bench.submit(SHORT, threads=2) for _ in range(10)]
    assert len(bench.line) == 2
    bench.turns()
    assert all(answer.done() for answer in answers)
    again = bench.submit(SHORT, threads=2)
    assert len(bench.line) == 1
    bench.turns()
    same(again, SHORT)


def test_threads_share_a_call() -> None:
    """The texts of one call are two packs where two threads are free."""
    bench = Bench()
    answer = bench.submit([[2, 9, 3]] * 8, threads=2)
    assert len(bench.line) == 2
    bench.turn()
    assert bench.packs == [[3] * 4]
    bench.turns()
    same(answer, [[2, 9, 3]] * 8)


def test_a_long_call_does_not_hold_up_a_short_one() -> None:
    """A call that comes while another of three packs is worked on is in the next pack."""
    bench = Bench()
    long = bench.submit(LONG)
    bench.turn()
    short = bench.submit(SHORT)
    assert len(bench.line) == 1
    bench.turn()
    same(short, SHORT)
    assert not long.done()
    bench.turns()
    same(long, LONG)
    assert [sum(pack) for pack in bench.packs] == [PACK_TOKENS, 3, PACK_TOKENS, PACK_TOKENS]


def test_short_calls_do_not_hold_up_a_long_one() -> None:
    """However many short calls come, a long one has every second pack; two long ones take turns in these."""
    bench = Bench()
    first, second = bench.submit(LONG), bench.submit([text[1:] for text in LONG])
    for longer in (16, 15, 16):
        short = bench.submit(SHORT)
        bench.turn()
        assert set(bench.packs[-1]) == {longer}
        bench.turn()
        assert bench.packs[-1] == [3]
        same(short, SHORT)
    bench.turns()
    same(first, LONG)
    same(second, [text[1:] for text in LONG])


def test_a_text_longer_than_a_pack_is_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A text of more tokens than packs have is one of its own, in its turn."""
    monkeypatch.setattr(embedding_queue, "PACK_TOKENS", 8)
    bench = Bench()
    longer, short = bench.submit(LONG[:1]), bench.submit(SHORT)
    bench.turns()
    assert bench.packs == [[16], [3]]
    same(longer, LONG[:1])
    same(short, SHORT)


def test_a_cancelled_call_leaves_the_queue() -> None:
    """A call that nobody waits for is computed no further, whether it waits or has begun, and the others are."""
    bench = Bench()
    begun, waiting = Cancellation(), Cancellation()
    long = bench.submit(LONG, cancellation=begun)
    bench.turn()
    cancelled = bench.submit([[2, 9, 10, 3]], cancellation=waiting)
    short = bench.submit(SHORT)
    begun.cancel()
    waiting.cancel()
    bench.turns()
    assert bench.packs[1:] == [[3]]
    same(short, SHORT)
    for answer in (long, cancelled):
        with pytest.raises(CancelledError):
            answer.result(0)


def test_an_error_reaches_the_calls_of_its_pack_alone() -> None:
    """What goes wrong is told once to each call that was in the pack, and the next ones are answered."""
    bench = Bench()
    long = bench.submit(LONG)
    bench.turn()
    short = bench.submit(SHORT)
    bench.broken = MemoryError("no room")
    bench.turn()
    with pytest.raises(MemoryError, match="no room"):
        short.result(0)
    bench.broken = MemoryError("none at all")
    bench.turn()
    with pytest.raises(MemoryError, match="none at all"):
        long.result(0)
    assert not bench.line
    later = bench.submit(SHORT)
    bench.turns()
    same(later, SHORT)


def test_nothing_to_compute_is_answered_at_once() -> None:
    """Texts without tokens have vectors of zeros, without a turn; no texts have none."""
    bench = Bench()
    assert (bench.submit([[], []]).result(0) == np.zeros((2, 32))).all()
    assert bench.submit([]).result(0).shape == (0, 32)
    assert not bench.line


def test_wrong_tokens_are_refused_before_they_wait() -> None:
    """A text that the model cannot read is named, and nothing of its call waits."""
    bench = Bench()
    with pytest.raises(ValueError, match="text 1: token 220 is not in the vocabulary of 220"):
        bench.submit([[2, 3], [220]])
    assert not bench.line


def test_many_callers_get_their_own_vectors() -> None:
    """Of a hundred calls from many threads, some cancelled, each has the vectors that it has alone."""
    queue = EmbeddingQueue(tiny())
    random = np.random.default_rng(0)
    calls = [
        [random.integers(4, 200, length).tolist() for length in random.integers(0, 40, count)]
        for count in random.integers(1, 20, 100)
    ]
    unwanted = [Cancellation() for _ in calls]
    with ThreadPoolExecutor(2) as workers, ThreadPoolExecutor(8) as callers:

        def ask(number: int) -> Future[Array]:
            answer = queue.submit(calls[number], later=workers.submit, threads=2, cancellation=unwanted[number])
            if number % 7 == 0:
                unwanted[number].cancel()
            return answer

        answers = [asked.result(SECONDS) for asked in [callers.submit(ask, number) for number in range(len(calls))]]
        for number, (answer, texts) in enumerate(zip(answers, calls, strict=True)):
            error = answer.exception(SECONDS)
            if error is None:
                same(answer, texts)
            else:
                assert isinstance(error, CancelledError)
                assert number % 7 == 0
