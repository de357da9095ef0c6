"""The engine: streams share steps and slots, wait, end, and vanish, and each is answered as if it were alone."""

import itertools
import math

import pytest

from qkv_server.transformers.generation.request import (
    FinishReason,
    GenerationRequest,
    QueueFullError,
)
from qkv_server.transformers.generation.sampling import Sampling

from .asking import ask, echo
from .echo_model import END, Call, EchoModel, EchoStream, engine_of, prompt
from .receiver import SECONDS, Receiver


def test_each_stream_is_answered_as_if_it_were_alone() -> None:
    """Many prompts of different lengths, on few streams, come back each as it was."""
    engine = engine_of(EchoModel())
    texts = [f"text {n} " * (n % 7) + "ß🐻"[: n % 3] for n in range(60)]
    receivers = [ask(engine, text) for text in texts]
    assert [receiver.finished().reason for receiver in receivers] == [FinishReason.END] * len(texts)
    assert [receiver.text for receiver in receivers] == texts


def test_streams_share_steps(held: EchoModel) -> None:
    """Streams that answer at the same time take one step together, as many as there are slots."""
    assert held.turns
    engine = engine_of(held, chunk=100)
    receivers = [ask(engine, "abcdefgh") for _ in range(8)]
    assert held.called.acquire(timeout=SECONDS)
    held.turns.release(10_000)
    for receiver in receivers:
        receiver.finished()
    steps = [call.streams for call in held.calls if call.method == "step"]
    assert max(steps) == 4
    assert sum(steps) == 8 * 8  # a prompt of 8, of which the first token comes with the prefill, and the end
    assert len(steps) < 30


def test_a_long_prompt_stalls_nobody_for_more_than_a_chunk(held: EchoModel) -> None:
    """Between two chunks of a long prompt, the streams that answer take a step."""
    assert held.turns
    engine = engine_of(held, chunk=16)
    short, long = ask(engine, "short" * 3), ask(engine, "long" * 60)
    held.turns.release(10_000)
    short.finished()
    long.finished()
    assert short.text == "short" * 3
    assert long.text == "long" * 60
    assert all(call.tokens <= 16 for call in held.calls)
    answered = [n for n, call in enumerate(held.calls) if call.method == "step"]
    while_short_answers = held.calls[answered[0] : answered[14]]
    assert Call("prefill", 1, 16) in while_short_answers
    for one, other in itertools.pairwise(while_short_answers):
        assert "step" in (one.method, other.method)


def test_chunks_get_shorter_the_deeper_they_are() -> None:
    """Where a token is twice the work, a chunk has half of the tokens, though not fewer than are worth a chunk."""
    model = EchoModel()
    assert echo(engine_of(model, chunk=64, double_work_tokens=128), "x" * 250) == "x" * 250
    assert [call.tokens for call in model.calls if call.method == "prefill"] == [64, 42, 35, 32, 32, 32, 14]
    model.calls.clear()
    assert echo(engine_of(model, chunk=2, double_work_tokens=1), "x" * 9) == "x" * 9
    assert [call.tokens for call in model.calls if call.method == "prefill"] == [2] * 5


def test_short_prompts_share_a_chunk(held: EchoModel) -> None:
    """Prompts that together are no more than a chunk are read in one turn, and answer together from the first step."""
    assert held.turns
    engine = engine_of(held, streams=5, chunk=16)
    first = ask(engine, "first")
    assert held.called.acquire(timeout=SECONDS)
    receivers = [ask(engine, "abc") for _ in range(4)]
    held.turns.release(10_000)
    for receiver in [first, *receivers]:
        receiver.finished()
    together = [Call("prefill", 1, 4)] * 4 + [Call("step", 5, 1)] * 3
    assert held.calls[:9] == [Call("prefill", 1, 6), Call("step", 1, 1), *together]


def test_a_part_of_something_admitted_is_not_refused(held: EchoModel) -> None:
    """What belongs to a call that was taken on waits, however long the queue is."""
    assert held.turns
    engine = engine_of(held, streams=1, queue=0)
    first, part = ask(engine, "first"), Receiver()
    with pytest.raises(QueueFullError):
        ask(engine, "other")
    engine.submit(GenerationRequest(prompt=prompt("part")), part, part=True)
    held.turns.release(10_000)
    first.finished()
    part.finished()
    assert part.text == "part"


def test_an_answer_may_fill_the_context() -> None:
    """A stream has room for its prompt and answer together, up to the last token of the context."""
    engine = engine_of(EchoModel(context_tokens=600))
    receiver = ask(engine, "x" * 298)
    assert receiver.finished().reason == FinishReason.END
    receiver = ask(engine, "x" * 300)
    assert receiver.finished().reason == FinishReason.LENGTH
    assert receiver.text == "x" * 299


def test_an_answer_says_why_it_ended_and_what_it_took() -> None:
    """The last event has the reason, tokens and seconds; the end counts as a token of the answer."""
    engine = engine_of(EchoModel())
    end = ask(engine, "hello").finished()
    assert (end.reason, end.usage.input_tokens, end.usage.output_tokens) == (FinishReason.END, 6, 6)
    length = ask(engine, "hello", max_tokens=3).finished()
    assert (length.reason, length.usage.output_tokens) == (FinishReason.LENGTH, 3)
    stop = ask(engine, "hello", stop=("ll",)).finished()
    assert (stop.reason, stop.usage.output_tokens) == (FinishReason.STOP, 4)
    assert end.usage.queue_seconds >= 0
    assert 0 < end.usage.first_token_seconds <= end.usage.total_seconds
    assert end.seed is None


def test_text_before_a_stop_string_is_told_and_nothing_of_it() -> None:
    """A stop string over several tokens ends the answer before it, whole characters before it are told."""
    engine = engine_of(EchoModel())
    assert echo(engine, "ein Bär 🐻 lebt im Wald", stop=("🦊", "lebt im")) == "ein Bär 🐻 "


def test_characters_are_told_whole() -> None:
    """Of a character of several tokens nothing is told before it is whole; one that stays broken is told at the end."""
    engine = engine_of(EchoModel())
    receiver = ask(engine, "a🐻é")
    receiver.finished()
    assert [piece.text for piece in receiver.pieces] == ["a", "🐻", "é"]
    assert echo(engine, "a🐻", max_tokens=3) == "a\N{REPLACEMENT CHARACTER}"


def test_what_comes_quickly_is_told_in_one_piece() -> None:
    """Between two pieces there is some time: the first text is told at once, the rest waits for it or for the end."""
    engine = engine_of(EchoModel(), piece_seconds=60.0)
    receiver = ask(engine, "🐻 and bears")
    receiver.finished()
    assert [piece.text for piece in receiver.pieces] == ["🐻", " and bears"]
    with_tokens = ask(engine, "bears", top_log_probabilities=0)
    with_tokens.finished()
    assert [(piece.text, len(piece.tokens)) for piece in with_tokens.pieces] == [("b", 1), ("ears", 5)]
    stopped = ask(engine, "bears and more", stop=("and",))
    assert stopped.finished().reason == FinishReason.STOP
    assert stopped.finished().usage.output_tokens == len("bears and")
    assert stopped.text == "bears "


def test_a_known_beginning_is_not_read_again() -> None:
    """Of a prompt that begins as an earlier one with its answer, only the rest is read, and the answer is the same."""
    model = EchoModel()
    engine = engine_of(model, prefixes=10**6)
    assert ask(engine, "a common beginning, one").finished().usage.cached_tokens == 0
    model.calls.clear()
    other = ask(engine, "a common beginning, two")
    assert other.finished().usage.cached_tokens == len("a common beginning, ")
    assert other.text == "a common beginning, two"
    assert model.calls[0] == Call("prefill", 1, len("two") + 1)
    again = ask(engine, "a common beginning, two")
    assert again.finished().usage.cached_tokens == len("a common beginning, two")
    assert again.text == other.text


def test_equal_seeds_answer_equally_in_any_company() -> None:
    """A seed decides an answer, alone or among others; a seed that nobody gave is told and gives the answer again."""
    engine = engine_of(EchoModel(chance=True), streams=8)
    sampling = Sampling(temperature=1.5, top_p=0.95)

    def asked(text: str, seed: int | None) -> Receiver:
        return ask(engine, text, sampling=sampling, seed=seed, max_tokens=20)

    alone = asked("seeded", 7)
    assert alone.finished().seed == 7
    company = [asked(text, seed) for text, seed in zip("abcdefg", range(7), strict=True)]
    among = asked("seeded", 7)
    among.finished()
    for receiver in company:
        receiver.finished()
    assert among.text == alone.text
    other = asked("seeded", 8)
    other.finished()
    assert other.text != alone.text
    chosen = asked("seeded", None)
    seed = chosen.finished().seed
    assert seed is not None
    again = asked("seeded", seed)
    again.finished()
    assert again.text == chosen.text


def test_tokens_are_told_with_their_probabilities_if_asked() -> None:
    """Each token comes once, in order, with its log-probability and the likeliest beside it, the end too."""
    engine = engine_of(EchoModel())
    receiver = ask(engine, "é", top_log_probabilities=2)
    receiver.finished()
    tokens = [token for piece in receiver.pieces for token in piece.tokens]
    assert [token.token.id for token in tokens] == [*"é".encode(), END]
    expected = 1 - math.log(256 + math.e)
    assert all(token.token.log_probability == pytest.approx(expected, abs=1e-5) for token in tokens)
    assert [token.likeliest[0].id for token in tokens] == [*"é".encode(), END]
    assert all(len(token.likeliest) == 2 for token in tokens)


def test_tokens_that_cannot_be_written_are_never_chosen() -> None:
    """Of a model with more logits than its tokenizer has tokens, the others do not come, whatever their logits."""

    class Padded(EchoModel):
        vocabulary_size = 300

        def _logits(self, stream: EchoStream):  # type: ignore[no-untyped-def]
            logits = super()._logits(stream).repeat(2)[:300]
            logits[:257] = super()._logits(stream)
            logits[257:] = 99
            return logits

    assert echo(engine_of(Padded()), "text") == "text"
