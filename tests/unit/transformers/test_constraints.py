"""The tokens that a model's files forbid: those that transformers' logits processors would."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_models import FOLDER

from qkv_server.transformers.errors import ModelFileError
from qkv_server.transformers.families.constraints import check_constraints, constraints
from qkv_server.transformers.files import ModelFiles, read_model
from qkv_server.transformers.generation.constraints import Constraints, Forbidden
from qkv_server.transformers.generation.engine import Engine
from qkv_server.transformers.generation.request import FinishReason, GenerationRequest
from qkv_server.transformers.generation.sampling import Sampling
from qkv_server.transformers.generation.streams import DecoderStreams, EncoderDecoderStreams
from qkv_server.transformers.loading import Model, load
from qkv_server.transformers.stacks.decoder import DecoderModel
from qkv_server.transformers.stacks.encoder_decoder import EncoderDecoderModel

from .asking import ask
from .echo_model import END, EchoModel, engine_of
from .receiver import Receiver

NEW_TOKENS = 16  # of the oracle's answers

IDS = st.lists(st.integers(0, 2), max_size=12)  # few tokens, so that they come again


def after(wanted: Constraints, before: list[int], answer: list[int]) -> set[int]:
    """What is forbidden behind these tokens, where 9 and 10 end answers."""
    forbidden = Forbidden(wanted, before, frozenset({9, 10}))
    for token in answer:
        forbidden.add(token)
    return set(forbidden.next())


@given(IDS, IDS, st.integers(1, 4))
def test_no_run_of_tokens_comes_twice(before: list[int], answer: list[int], count: int) -> None:
    """Forbidden is each token that would end a run of so many that is in the prompt or in the answer."""
    ids = before + answer
    runs = [ids[begin : begin + count] for begin in range(len(ids) - count + 1)]
    again = {token for token in range(3) if [*ids, token][-count:] in runs}
    assert after(Constraints(no_repeat=count), before, answer) == again


@given(IDS, IDS, st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=3), max_size=4))
def test_banned_tokens_never_come_in_a_row(before: list[int], answer: list[int], banned: list[list[int]]) -> None:
    """Forbidden is each token with which the last tokens would be a banned row."""
    ids = before + answer
    last = {row[-1] for row in banned if [*ids, row[-1]][-len(row) :] == row}
    assert after(Constraints(banned=tuple(map(tuple, banned))), before, answer) == last


def test_no_answer_ends_too_early() -> None:
    """No end comes before there are so many tokens, with those that the decoder read first or without."""
    for wanted, before in ((Constraints(least_tokens=5), [1, 1]), (Constraints(least_new_tokens=3), [1, 1, 1, 1])):
        assert after(wanted, before, [2, 2]) == {9, 10}
        assert after(wanted, before, [2, 2, 2]) == set()


def test_an_answer_that_is_cut_ends_as_its_model_wants() -> None:
    """Where an end is forced, it is the last token of an answer that was cut, which has no text of its own."""
    engine = engine_of(EchoModel())
    receiver = ask(engine, "abcdef", max_tokens=4, constraints=Constraints(forced_end=END), top_log_probabilities=0)
    finished = receiver.finished()
    assert (finished.reason, finished.usage.output_tokens, receiver.text) == (FinishReason.LENGTH, 4, "abc")
    tokens = [token.token.id for piece in receiver.pieces for token in piece.tokens]
    assert tokens == [*b"abc", END]
    whole = ask(engine, "abc", max_tokens=4, constraints=Constraints(forced_end=END)).finished()
    assert whole.reason == FinishReason.END


@pytest.mark.parametrize("temperature", [0.0, 1.5])
def test_what_is_forbidden_is_not_chosen(temperature: float) -> None:
    """With chance or without, an answer has none of the tokens that its constraints forbid."""
    engine = engine_of(EchoModel(chance=True))
    sampling = Sampling(temperature=temperature)
    wanted = Constraints(no_repeat=1, least_new_tokens=20)
    receiver = ask(engine, "", max_tokens=20, sampling=sampling, seed=3, constraints=wanted, top_log_probabilities=0)
    assert receiver.finished().reason == FinishReason.LENGTH
    tokens = [token.token.id for piece in receiver.pieces for token in piece.tokens]
    assert len(set(tokens)) == 20
    assert END not in tokens


def files_of(config: dict[str, Any], generation: dict[str, Any]) -> ModelFiles:
    files = read_model(FOLDER / "bart")
    return replace(files, config={**files.config, **config}, generation=generation)


SUMMARIES = {"summarization": {"min_length": 30, "no_repeat_ngram_size": None}}


def test_a_task_says_what_its_answers_shall_be() -> None:
    """What a task says goes before generation_config.json, and that before config.json."""
    files = files_of(
        {"task_specific_params": SUMMARIES, "min_length": 1, "no_repeat_ngram_size": 2, "forced_eos_token_id": 2},
        {"no_repeat_ngram_size": 3, "min_length": 5, "bad_words_ids": [[7], [8, 9]], "suppress_tokens": [11]},
    )
    whole = constraints(files, encoder_decoder=True)
    assert whole == Constraints(no_repeat=3, least_tokens=5, banned=((8, 9), (11,)), forced_end=2)
    assert constraints(files, "summarization", encoder_decoder=True) == replace(whole, least_tokens=30)
    assert constraints(files, "translation", encoder_decoder=True) == whole
    assert constraints(files, encoder_decoder=False).banned == ((7,), (8, 9), (11,))


def test_new_tokens_are_counted_behind_what_was_asked() -> None:
    """`min_new_tokens` leaves out a decoder's prompt, and of an encoder-decoder the one token that it begins with."""
    files = files_of({}, {"min_new_tokens": 4})
    assert constraints(files, encoder_decoder=False) == Constraints(least_new_tokens=4, forced_end=2)
    assert constraints(files, encoder_decoder=True) == Constraints(least_tokens=5, forced_end=2)


@pytest.mark.parametrize(
    ("generation", "message"),
    [
        ({"no_repeat_ngram_size": -1}, "generation_config has 'no_repeat_ngram_size': -1, expected a whole number"),
        ({"min_length": "long"}, "generation_config has 'min_length': 'long', expected a whole number"),
        ({"bad_words_ids": [5]}, r"generation_config has 'bad_words_ids': \[5\], expected lists of numbers of tokens"),
        ({"bad_words_ids": [[5.5]]}, r"'bad_words_ids': \[\[5.5\]\], expected lists of numbers of tokens, below 301"),
        ({"bad_words_ids": [[5, 301]]}, r"'bad_words_ids': \[\[5, 301\]\], expected lists .* of tokens, below 301"),
        ({"suppress_tokens": [True]}, r"generation_config has 'suppress_tokens': \[True\], expected the number of a"),
        ({"suppress_tokens": [301]}, r"'suppress_tokens': \[301\], expected the number of a token, below 301"),
        ({"forced_eos_token_id": "end"}, "generation_config has 'forced_eos_token_id': 'end', expected the number"),
        ({"forced_eos_token_id": 99999}, "'forced_eos_token_id': 99999, expected the number of a token, below 301"),
    ],
)
def test_what_cannot_be_is_refused(generation: dict[str, Any], message: str) -> None:
    """A setting of the wrong kind is named, with the file that has it and what was expected."""
    with pytest.raises(ModelFileError, match=message):
        check_constraints(files_of({}, generation), encoder_decoder=True)


def test_what_a_task_cannot_have_is_refused() -> None:
    """A setting of a task is checked with the others, before anybody asks for the task."""
    for said, message in (
        ({"min_length": 1.5}, r"config has 'min_length' of a task: 1\.5, expected a whole number from 0"),
        (
            {"suppress_tokens": 301},
            "config has 'suppress_tokens' of a task: 301, expected the number of a token, below",
        ),
    ):
        files = files_of({"task_specific_params": {"summarization": said}}, {})
        with pytest.raises(ModelFileError, match=message):
            check_constraints(files, encoder_decoder=True)


ORACLE: list[dict[str, Any]] = json.loads((FOLDER.parent / "constrained_answers.json").read_text("utf-8"))


@pytest.mark.parametrize("place", range(len(ORACLE)), ids=lambda place: f"{ORACLE[place]['model']}-{place}")
def test_answers_are_those_of_the_oracle(place: int) -> None:
    """Under settings that forbid what would have come, greedy answers are those that transformers gives.

    The two best tokens are never closer than 0.01, a hundred times the rounding.
    """
    asked = ORACLE[place]
    files = read_model(FOLDER / asked["model"])
    files = replace(files, generation={**files.generation, **asked["settings"]})
    model = load(files)
    first = len(model.prompt_ids) - 1 if isinstance(model, EncoderDecoderModel) else 0  # forced, and read at once
    wanted = constraints(files, encoder_decoder=isinstance(model, EncoderDecoderModel))
    request = GenerationRequest(
        prompt=tuple(asked["input_ids"]), max_tokens=NEW_TOKENS - first, constraints=wanted, top_log_probabilities=0
    )
    receiver = Receiver()
    engine_over(files, model).submit(request, receiver)
    receiver.finished()
    assert [token.token.id for piece in receiver.pieces for token in piece.tokens] == asked["ids"][first:]


def engine_over(files: ModelFiles, model: Model) -> Engine[Any]:
    if isinstance(model, EncoderDecoderModel):
        return Engine(model, EncoderDecoderStreams(model), files.tokenizer)
    assert isinstance(model, DecoderModel)
    return Engine(model, DecoderStreams(model, 0), files.tokenizer)
