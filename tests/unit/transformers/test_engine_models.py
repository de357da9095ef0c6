"""The engine over real architectures: the oracle's answers, in any company, and from any beginning that was known."""

import json
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from tiny_models import FOLDER

from qkv_server.transformers.files import ModelFiles, read_model
from qkv_server.transformers.generation.engine import Engine, EngineSettings
from qkv_server.transformers.generation.request import ContextOverflowError, GeneratedToken, GenerationRequest
from qkv_server.transformers.generation.sampling import Sampling
from qkv_server.transformers.generation.streams import DecoderStreams, EncoderDecoderStreams
from qkv_server.transformers.loading import load
from qkv_server.transformers.stacks.decoder import DecoderModel
from qkv_server.transformers.stacks.encoder_decoder import EncoderDecoderModel

from .receiver import Receiver

DECODERS = ("gemma2", "gpt2", "llama", "mistral", "qwen2", "qwen3")
ENCODER_DECODERS = ("marian", "t5", "t5-gated")
CLEAR_MARGIN = 0.05  # between the two best tokens, from which on rounding does not choose
COMPANY_BOUND = 1e-4  # of log-probabilities; the largest difference that was measured is 4e-5


@cache
def model_of(name: str) -> tuple[ModelFiles, DecoderModel | EncoderDecoderModel[Any]]:
    files = read_model(FOLDER / name)
    model = load(files)
    assert isinstance(model, DecoderModel | EncoderDecoderModel)
    return files, model


@cache
def asked(name: str) -> list[dict[str, Any]]:
    """What was asked of the oracle, and what it answered, greedily."""
    questions: list[dict[str, Any]] = json.loads((FOLDER / name / "goldens.json").read_text())["questions"]
    return questions


def engine_of(name: str, *, streams: int = 8, chunk: int = 4, prefixes: int = 0) -> Engine[Any]:
    files, model = model_of(name)
    settings = EngineSettings(streams=streams, chunk_tokens=chunk)
    if isinstance(model, DecoderModel):
        return Engine(model, DecoderStreams(model, prefixes), files.tokenizer, settings)
    return Engine(model, EncoderDecoderStreams(model), files.tokenizer, settings)


def ask(engine: Engine[Any], ids: list[int], **options: Any) -> Receiver:
    receiver = Receiver()
    engine.submit(GenerationRequest(prompt=tuple(ids), top_log_probabilities=0, **options), receiver)
    return receiver


def answer(receiver: Receiver) -> list[GeneratedToken]:
    """The tokens of a finished answer."""
    receiver.finished()
    return [token for piece in receiver.pieces for token in piece.tokens]


def ids_of(tokens: list[GeneratedToken]) -> list[int]:
    return [token.token.id for token in tokens]


def probabilities(tokens: list[GeneratedToken]) -> list[float]:
    return [token.token.log_probability for token in tokens]


def fillers(name: str) -> list[list[int]]:
    """Prompts that keep others company: of several lengths, and none that is asked."""
    ids = max((question["input_ids"] for question in asked(name)), key=len)
    return [ids[end % 3 : end] for end in range(5, len(ids))]


@pytest.mark.parametrize("name", [*DECODERS, *ENCODER_DECODERS])
def test_greedy_answers_are_those_of_the_oracle(name: str) -> None:
    """Among others, every question is answered with the oracle's tokens, as long as its margins are clear."""
    engine = engine_of(name)
    before = [ask(engine, ids, max_tokens=9) for ids in fillers(name)[:3]]
    receivers = [ask(engine, question["input_ids"], max_tokens=12) for question in asked(name)]
    for question, receiver in zip(asked(name), receivers, strict=True):
        greedy, margins = question["greedy"]["ids"], question["greedy"]["margins"]
        clear = next((n for n, margin in enumerate(margins) if margin is None or margin < CLEAR_MARGIN), len(margins))
        assert clear > 3
        assert ids_of(answer(receiver))[:clear] == greedy[:clear]
    for receiver in before:
        receiver.finished()


@pytest.mark.parametrize("name", [*DECODERS, *ENCODER_DECODERS])
def test_answers_do_not_depend_on_company(name: str) -> None:
    """Alone and among others, greedy or by chance, an answer has the same tokens, and their probabilities agree."""
    engine = engine_of(name)
    ids = asked(name)[0]["input_ids"]
    for options in ({}, {"sampling": Sampling(temperature=1.2, top_p=0.9), "seed": 11}):
        alone = answer(ask(engine, ids, max_tokens=12, **options))
        company = [ask(engine, other, max_tokens=9) for other in fillers(name)]
        among = answer(ask(engine, ids, max_tokens=12, **options))
        for receiver in company:
            receiver.finished()
        assert ids_of(among) == ids_of(alone)
        np.testing.assert_allclose(probabilities(among), probabilities(alone), rtol=0, atol=COMPANY_BOUND)


@pytest.mark.parametrize("name", DECODERS)
def test_a_known_beginning_changes_no_answer(name: str) -> None:
    """An answer that begins with what an earlier one has read has the same tokens, and their probabilities agree."""
    ids = [token for question in asked(name) for token in question["input_ids"]]
    fresh = answer(ask(engine_of(name), ids, max_tokens=12))
    engine = engine_of(name, prefixes=10**8)
    answer(ask(engine, ids[:-1], max_tokens=5))
    receiver = ask(engine, ids, max_tokens=12)
    known = answer(receiver)
    assert receiver.finished().usage.cached_tokens == len(ids) - 1
    assert ids_of(known) == ids_of(fresh)
    np.testing.assert_allclose(probabilities(known), probabilities(fresh), rtol=0, atol=COMPANY_BOUND)


@pytest.mark.parametrize("name", ["llama", "mistral"])
def test_an_answer_outgrows_its_first_room(name: str) -> None:
    """A stream that is copied into more room, several times, goes on as if it had had the room from the beginning."""
    _, model = model_of(name)
    assert isinstance(model, DecoderModel)
    ids = asked(name)[0]["input_ids"]
    most = model.context_tokens - len(ids)
    tokens = ids_of(answer(ask(engine_of(name), ids, max_tokens=most)))
    stream = model.new_stream(model.context_tokens)
    logits = model.prefill(stream, ids)
    for token in tokens:
        assert logits[token] >= logits.max() - 1e-3
        logits = model.step([stream], [token])[0]


def test_a_translation_is_as_long_as_its_source_suggests_or_as_was_asked() -> None:
    """Without a bound in the request, that of the model for a source so long counts; with one, only the context."""
    _, model = model_of("marian")
    assert isinstance(model, EncoderDecoderModel)
    model = replace(model, description=replace(model.description, answer_ratio=0.5, end_ids=frozenset()))
    engine: Engine[Any] = Engine(model, EncoderDecoderStreams(model), model_of("marian")[0].tokenizer)
    ids = asked("marian")[0]["input_ids"]
    assert len(answer(ask(engine, ids))) == len(ids) // 2
    assert len(answer(ask(engine, ids, max_tokens=len(ids) + 3))) == len(ids) + 3
    with pytest.raises(ContextOverflowError):
        ask(engine, ids, max_tokens=model.context_tokens + 1)
    with pytest.raises(ContextOverflowError, match=f"the model reads {model.source_tokens} at a time"):
        ask(engine, ids * model.source_tokens)
