"""Documents: parts that are answered in any order, and told as one answer."""

import threading
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qkv_server.transformers.generation.constraints import Constraints
from qkv_server.transformers.generation.documents import DocumentPart, submit_document
from qkv_server.transformers.generation.engine import Load
from qkv_server.transformers.generation.joining import JoinedAnswers
from qkv_server.transformers.generation.request import (
    ContextOverflowError,
    Event,
    Failed,
    Finished,
    FinishReason,
    GenerationRequest,
    Piece,
    QueueFullError,
)
from qkv_server.transformers.generation.rewriting import Instruction, rewrite

from .echo_model import END, EchoModel, engine_of, prompt
from .receiver import SECONDS, Receiver


def part(text: str, space: str = " ") -> DocumentPart:
    return DocumentPart(GenerationRequest(prompt=prompt(text)), space)


def echoing(part_tokens: int = 100, *, packed: bool = False) -> Instruction:
    """How the echo model is asked to rewrite a text as it is."""
    return Instruction(prompt=prompt, part_tokens=part_tokens, packed=packed, answer_tokens=lambda _: 1000)


@given(st.lists(st.tuples(st.lists(st.text("ab ", max_size=3), max_size=3), st.sampled_from([" ", "\n"]))), st.data())
def test_answers_are_told_in_order_however_they_come(parts: list[tuple[list[str], str]], data: st.DataObject) -> None:
    """Pieces of several answers, in any order, are told as one text: answers without white space at both ends."""
    events = [(number, text) for number, (texts, _) in enumerate(parts) for text in [*texts, None]]
    order = data.draw(st.permutations([number for number, _ in events]))
    coming = {number: [text for of, text in events if of == number] for number in range(len(parts))}
    answers, told = JoinedAnswers([space for _, space in parts]), ""
    expected = "".join("".join(texts).strip() + space for texts, space in parts)
    for number in order:
        text = coming[number].pop(0)
        told += answers.end(number) if text is None else answers.add(number, text)
        assert expected.startswith(told)
    assert told == expected


def test_text_is_told_as_soon_as_its_turn_comes() -> None:
    """The first part is told piece by piece; the second, which was ready before, with the end of the first."""
    answers = JoinedAnswers([" ", "\n"])
    assert answers.add(1, "second") == ""
    assert answers.end(1) == ""
    assert answers.add(0, " fir") == "fir"
    assert answers.add(0, "st ") == "st"
    assert answers.end(0) == " second\n"


@pytest.mark.parametrize(("first", "gap"), [("Hello.", " "), ("こんにちは。", "")])
def test_answers_get_a_space_where_their_script_needs_one(first: str, gap: str) -> None:
    """Between parts without white space comes a space, unless the answer ends with a wide character."""
    answers = JoinedAnswers(["", ""])
    assert answers.add(0, first) + answers.end(0) == first + gap
    assert answers.add(1, "next") + answers.end(1) == "next"


def test_an_empty_answer_gets_no_space() -> None:
    """Between the answers around one that is empty, or white space alone, comes one space."""
    for empty in ("", " "):
        answers = JoinedAnswers(["", "", ""])
        told = [answers.add(part, text) + answers.end(part) for part, text in enumerate(("A.", empty, "B."))]
        assert "".join(told) == "A. B."


def test_a_document_is_answered_as_it_was_laid_out() -> None:
    """Many parts, empty ones too, come back in order, with their white space, as one answer with one end."""
    engine = engine_of(EchoModel(), streams=3)
    parts = [DocumentPart(None, "\n "), *(part(f"part {n} " * (n % 4 + 1), "\n" * (n % 3 + 1)) for n in range(20))]
    receiver = Receiver()
    submit_document(engine, parts, receiver)
    finished = receiver.finished()
    assert receiver.text == "\n " + "".join(
        f"part {n} " * (n % 4) + f"part {n}" + "\n" * (n % 3 + 1) for n in range(20)
    )
    assert finished.reason == FinishReason.END
    read = sum(len(one.request.prompt) for one in parts if one.request)
    assert (finished.usage.input_tokens, finished.usage.output_tokens) == (read, read)


def test_parts_share_steps() -> None:
    """Parts of a document are answered together, as many as there are streams."""
    model = EchoModel()
    engine = engine_of(model, streams=4)
    receiver = Receiver()
    submit_document(engine, [part("the same length") for _ in range(8)], receiver)
    receiver.finished()
    assert max(call.streams for call in model.calls if call.method == "step") == 4


def test_a_document_takes_one_place_of_the_queue() -> None:
    """A document of more parts than there are places is answered; where there is no place, it is refused whole."""
    model = EchoModel()
    model.turns = threading.Semaphore(0)
    engine = engine_of(model, streams=2, queue=0)
    first, second, refused = Receiver(), Receiver(), Receiver()
    submit_document(engine, [part(f"part {n}") for n in range(30)], first)
    submit_document(engine, [part("second")], second)
    with pytest.raises(QueueFullError):
        submit_document(engine, [part("refused")], refused)
    model.turns.release(10_000)
    first.finished()
    second.finished()
    assert first.text == "".join(f"part {n} " for n in range(30))
    assert second.text == "second "
    assert (refused.pieces, refused.last) == ([], None)


def test_a_part_that_does_not_fit_refuses_the_document() -> None:
    """Nothing is begun of a document of which any part is too long, or has no room for the answer that it asks for."""
    model = EchoModel(context_tokens=20)
    with pytest.raises(ContextOverflowError):
        submit_document(engine_of(model), [part("short"), part("long" * 10)], Receiver())
    asking = [
        DocumentPart(GenerationRequest(prompt=prompt(text), max_tokens=10), " ") for text in ("short", "longer" * 2)
    ]
    with pytest.raises(ContextOverflowError, match="max_tokens is 10, the answer to this prompt may have 7"):
        submit_document(engine_of(model), asking, Receiver())
    assert model.calls == []


def test_a_cancelled_document_takes_no_more_streams() -> None:
    """Cancelling ends the parts under way, and no other part is begun."""
    model = EchoModel()
    model.turns = threading.Semaphore(0)
    engine = engine_of(model, streams=2)
    cancelled, other = Receiver(), Receiver()
    handle = submit_document(engine, [part(f"part {n}") for n in range(30)], cancelled)
    model.turns.release(4)
    for _ in range(5):
        assert model.called.acquire(timeout=SECONDS)
    handle.cancel()
    engine.submit(GenerationRequest(prompt=prompt("other")), other)
    model.turns.release(10_000)
    other.finished()
    assert other.text == "other"
    assert cancelled.last is None
    assert sum(call.method == "prefill" for call in model.calls) <= 3
    assert engine.load == Load(0, 0)


def test_a_receiver_that_fails_ends_its_document(caplog: pytest.LogCaptureFixture) -> None:
    """Where nobody takes the text, all parts end, and the last event says why."""
    model = EchoModel()
    engine = engine_of(model, streams=1)
    told: list[Event] = []

    def vanished(event: Event) -> None:
        told.append(event)
        raise RuntimeError(f"nobody takes {event}")

    submit_document(engine, [part(f"part {n}") for n in range(30)], vanished)
    other = Receiver()
    engine.submit(GenerationRequest(prompt=prompt("other")), other)
    other.finished()
    assert len(model.calls) < 20
    assert "nobody takes" in caplog.text
    *pieces, last = told
    assert all(isinstance(piece, Piece) for piece in pieces)
    assert isinstance(last, Failed)
    assert str(last.error).startswith("nobody takes Piece")


def test_a_failing_part_fails_its_document_once() -> None:
    """An error of the model is the last event of the document, and its other parts end."""
    model = EchoModel()
    model.broken = MemoryError("no memory for a step")
    engine = engine_of(model)
    receiver = Receiver()
    submit_document(engine, [part(f"part {n}") for n in range(30)], receiver)
    assert isinstance(receiver.failed(), MemoryError)
    again = Receiver()
    submit_document(engine, [part("again")], again)
    again.finished()
    assert again.text == "again "


def test_a_document_that_is_cut_says_so() -> None:
    """Where the answer to any part reached the most tokens, so did the document."""
    receiver = Receiver()
    rewrite(engine_of(EchoModel()), echoing(), "One. Two. Three.", receiver, max_tokens=4)
    assert receiver.finished().reason == FinishReason.LENGTH
    assert receiver.text == "One. Two. Thre"


def test_answers_have_at_most_the_room_behind_their_part() -> None:
    """More tokens than there is room for behind a longer part are as many as there is room for, and it is answered."""
    receiver = Receiver()
    model = EchoModel(context_tokens=40)
    rewrite(engine_of(model), echoing(20), f"Short. {'longer' * 3}. Short.", receiver, max_tokens=30)
    assert receiver.finished().reason == FinishReason.END
    assert receiver.text == f"Short. {'longer' * 3}. Short."


def test_an_instruction_says_how_answers_end() -> None:
    """Constraints of an instruction are those of the answer to each part."""
    receiver = Receiver()
    instruction = replace(echoing(), constraints=Constraints(forced_end=END))
    rewrite(engine_of(EchoModel()), instruction, "One. Two. Three.", receiver, max_tokens=4)
    assert receiver.finished().reason == FinishReason.LENGTH
    assert receiver.text == "One Two Thr"


def test_an_empty_text_is_answered_at_once() -> None:
    """A text without words is its own answer, and takes no tokens."""
    for text in ("", " \n"):
        receiver = Receiver()
        rewrite(engine_of(EchoModel()), echoing(), text, receiver)
        assert isinstance(receiver.last, Finished)
        assert receiver.last.usage.input_tokens == 0
        assert receiver.pieces == ([Piece(text)] if text else [])


TEXT = """  A heading

It is a text. It has sentences!  Some "are quoted." Others are not?
- an item
- another one
"""


@pytest.mark.parametrize("part_tokens", [3, 10, 40, 1000])
@pytest.mark.parametrize("packed", [False, True])
def test_a_text_is_rewritten_in_parts_that_the_model_reads(part_tokens: int, packed: bool) -> None:
    """Split in parts of any size, answered, and joined, a text that is echoed comes back, spaces in cut words aside."""
    model = EchoModel()
    receiver = Receiver()
    rewrite(engine_of(model, chunk=1000), echoing(part_tokens, packed=packed), TEXT, receiver)
    receiver.finished()
    assert "".join(receiver.text.split()) == "".join(TEXT.split())
    assert receiver.text == TEXT or part_tokens < 20
    assert all(call.tokens <= part_tokens + 1 for call in model.calls if call.method == "prefill")
