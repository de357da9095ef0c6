"""How models are asked to translate and to summarize, and which can be asked at all."""

from dataclasses import replace
from functools import cache
from typing import Any

import pytest
from tiny_models import FOLDER

from qkv_server.transformers.files import ModelFiles, read_model
from qkv_server.transformers.generation.constraints import Constraints
from qkv_server.transformers.generation.engine import Engine, EngineSettings
from qkv_server.transformers.generation.request import ContextOverflowError
from qkv_server.transformers.generation.rewriting import Instruction, rewrite
from qkv_server.transformers.generation.streams import DecoderStreams, EncoderDecoderStreams
from qkv_server.transformers.instructions import (
    SUMMARY_TOKENS,
    can_summarize,
    can_translate,
    chat_tokens,
    is_instructed,
    language_pairs,
    summary,
    translation,
)
from qkv_server.transformers.loading import Writer, load
from qkv_server.transformers.stacks.decoder import DecoderModel
from qkv_server.transformers.stacks.encoder_decoder import EncoderDecoderModel
from qkv_server.transformers.text.languages import matching, name_of

from .receiver import Receiver

T5_TASKS = {
    "summarization": {"prefix": "summarize: ", "max_length": 20, "min_length": 5, "no_repeat_ngram_size": 3},
    "translation_en_to_de": {"prefix": "translate English to German: "},
    "translation_en_to_fr": {"prefix": "translate English to French: "},
}


@cache
def model_of(name: str) -> tuple[ModelFiles, Writer]:
    files = read_model(FOLDER / name)
    model = load(files)
    assert isinstance(model, DecoderModel | EncoderDecoderModel)
    return files, model


def t5() -> tuple[ModelFiles, Writer]:
    """A T5 whose config names tasks, as those of the paper do."""
    files, model = model_of("t5")
    return replace(files, config={**files.config, "task_specific_params": T5_TASKS}), model


def qwen2() -> tuple[ModelFiles, Writer]:
    """A chat model with room for what asks it: rotary positions have no end of their own."""
    files, model = model_of("qwen2")
    assert isinstance(model, DecoderModel)
    return files, replace(model, description=replace(model.description, context_tokens=600))


ASKED = {"marian": lambda: model_of("marian"), "qwen2": qwen2, "t5": t5}


def rewritten(files: ModelFiles, model: Writer, instruction: Instruction, text: str, **options: Any) -> Receiver:
    """A text that a model has rewritten."""
    streams = DecoderStreams(model, 0) if isinstance(model, DecoderModel) else EncoderDecoderStreams(model)
    engine: Engine[Any] = Engine(model, streams, files.tokenizer, EngineSettings(streams=4))
    receiver = Receiver()
    rewrite(engine, instruction, text, receiver, **options)
    receiver.finished()
    return receiver


def test_a_task_says_what_may_not_come_in_its_answers() -> None:
    """Summaries follow what the config says of their task, translations what it says of theirs: here nothing."""
    assert summary(*t5()).constraints == Constraints(no_repeat=3, least_tokens=5)
    assert translation(*t5(), ("en", "de")).constraints == Constraints()


def test_languages_are_called_by_their_english_names() -> None:
    """A tag is called by the name of its language, with the rest of the tag; an unknown one by itself."""
    assert [name_of(tag) for tag in ("pt", "pt-BR", "EN", "tlh")] == ["Portuguese", "Portuguese (BR)", "English", "tlh"]


@pytest.mark.parametrize(
    ("source", "target", "expected"),
    [
        ("en", "pt", [("en", "pt")]),
        ("en-GB", "PT", [("en", "pt")]),
        ("", "en", [("pt", "en")]),
        ("", "", [("en", "pt"), ("pt", "en")]),
        ("de", "", []),
    ],
)
def test_pairs_are_found_by_languages_without_regions(source: str, target: str, expected: list[object]) -> None:
    """Tags agree by their language; an empty one agrees with all."""
    assert matching([("en", "pt"), ("pt", "en")], source, target) == expected


def test_a_chat_model_is_asked_in_words() -> None:
    """The prompt is a chat, of which the message says what is wanted and then the text; the answer begins behind it."""
    files, model = model_of("qwen2")
    assert is_instructed(files)
    assert can_translate(files, model)
    assert can_summarize(files, model)
    for instruction, words in (
        (translation(files, model, ("en", "pt-BR")), "from English to Portuguese (BR)."),
        (translation(files, model, ("", "fr")), "the following text to French."),
        (summary(files, model), "Summarize the following text"),
    ):
        prompt = files.tokenizer.decode(instruction.prompt("I love bears."), special_tokens=True)
        assert words in prompt
        assert prompt.index(words) < prompt.index("\n\nI love bears.")
        assert not prompt.rstrip().endswith("I love bears.")


def test_a_chat_is_written_by_the_template_of_the_model() -> None:
    """The tokens of a chat are those of its template's text, and nothing is added around it."""
    files, _ = model_of("qwen2")
    user = chat_tokens(files, [{"role": "user", "content": "I love bears."}])
    longer = chat_tokens(files, [{"role": "user", "content": "I love bears."}, {"role": "assistant", "content": "So"}])
    assert longer[: len(user) - 1] == user[:-1]
    with pytest.raises(ValueError, match="gpt2 has no chat template"):
        chat_tokens(model_of("gpt2")[0], [{"role": "user", "content": "Hello"}])


def test_a_model_without_a_template_is_not_asked() -> None:
    """A decoder that only continues texts can be asked for neither task."""
    files, model = model_of("gpt2")
    assert not can_translate(files, model)
    assert not can_summarize(files, model)


def test_a_model_of_tasks_is_asked_by_their_prefixes() -> None:
    """What the config of a T5 says of tasks decides what it can, and how it is asked."""
    files, model = t5()
    assert language_pairs(files) == (("en", "de"), ("en", "fr"))
    assert can_translate(files, model)
    assert can_summarize(files, model)
    german = translation(files, model, ("en", "de"))
    assert german.prompt("I love bears.") == files.tokenizer.encode("translate English to German: I love bears.").ids
    short = summary(files, model)
    assert short.prompt("I love bears.") == files.tokenizer.encode("summarize: I love bears.").ids
    assert short.answer_tokens(100) == 19
    assert not can_translate(*model_of("t5"))
    assert not can_summarize(*model_of("t5"))


@pytest.mark.parametrize(
    ("config", "generation", "of_task", "most"),
    [
        ({}, {}, {}, SUMMARY_TOKENS),
        ({"max_length": 8}, {}, {}, 6),
        ({"max_length": 8}, {"max_length": 9}, {}, 7),
        ({"max_length": 8}, {"max_length": 9}, {"max_length": 10}, 8),
        ({}, {"max_length": 9, "max_new_tokens": 5}, {"max_length": 10}, 5),
    ],
)
def test_a_summary_is_as_long_as_the_files_say(
    config: dict[str, int], generation: dict[str, int], of_task: dict[str, int], most: int
) -> None:
    """The task goes first, new tokens before all tokens, which count the two that the decoder of BART reads before."""
    files, _ = model_of("bart")
    said = {**files.config, **config, "task_specific_params": {"summarization": of_task}}
    files = replace(files, config=said, generation={**files.generation, **generation})
    model = load(files)
    assert isinstance(model, EncoderDecoderModel)
    assert summary(files, model).answer_tokens(100) == most
    if not of_task and most != SUMMARY_TOKENS:
        assert model.answer_tokens(100) == most


def test_a_translation_is_as_long_as_its_task_says() -> None:
    """The length that a task has is that of its answers; of another, the model decides."""
    files, model = model_of("t5")
    tasks = {"translation_en_to_de": {"max_length": 9}, "translation_en_to_fr": {}}
    files = replace(files, config={**files.config, "task_specific_params": tasks})
    assert translation(files, model, ("en", "de")).answer_tokens(100) == 8
    assert translation(files, model, ("en", "fr")).answer_tokens(100) == 0


def test_a_translator_reads_the_text_alone() -> None:
    """A Marian is given the text as it is, one sentence at a time."""
    files, model = model_of("marian")
    assert can_translate(files, model)
    assert not can_summarize(files, model)
    instruction = translation(files, model, ("", ""))
    assert instruction.prompt("I love bears.") == files.tokenizer.encode("I love bears.").ids
    assert not instruction.packed


@pytest.mark.parametrize("name", ["marian", "t5", "qwen2"])
def test_a_text_is_translated_line_by_line(name: str) -> None:
    """A text of several lines, one of them far too long, comes back in as many lines."""
    files, model = ASKED[name]()
    instruction = translation(files, model, ("en", "de"))
    text = "I love bears.\n\nThe bear waits by the old river.\n" + "bears and " * 60 + "\nI love bears.\n"
    receiver = rewritten(files, model, instruction, text, max_tokens=6)
    lines = receiver.text.split("\n")
    assert len(lines) == len(text.split("\n"))
    assert lines[0] == lines[4]
    assert receiver.finished().usage.input_tokens > 60


@pytest.mark.parametrize("name", ["t5", "qwen2"])
def test_a_long_text_is_summarized_in_parts(name: str) -> None:
    """A text longer than a model reads is answered in parts, each of which it can read."""
    files, model = ASKED[name]()
    receiver = rewritten(files, model, summary(files, model), "I love bears. " * 300, max_tokens=4)
    usage = receiver.finished().usage
    assert usage.input_tokens > model.context_tokens
    assert usage.output_tokens > 4


def test_a_model_too_small_to_be_asked_says_so() -> None:
    """Where the context does not hold what asks and the text, the refusal has the numbers."""
    files, model = model_of("qwen2")
    with pytest.raises(ContextOverflowError, match=r"the prompt has \d+ tokens, the model reads 64, answer included"):
        rewritten(files, model, summary(files, model), "I love bears.")
