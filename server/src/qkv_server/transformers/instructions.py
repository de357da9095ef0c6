"""How models are asked to translate and to summarize: those made for it by a prefix at most, others in words."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from qkv_server.transformers.families.answers import said_length, tasks
from qkv_server.transformers.families.constraints import constraints
from qkv_server.transformers.files import ModelFiles
from qkv_server.transformers.generation.rewriting import Instruction
from qkv_server.transformers.loading import Writer
from qkv_server.transformers.stacks.decoder import DecoderModel
from qkv_server.transformers.stacks.encoder_decoder import EncoderDecoderModel
from qkv_server.transformers.text.chat import render
from qkv_server.transformers.text.languages import Pair, name_of

SENTENCE_TOKENS = 128  # that are translated at a time, as in Bergamot: its models were trained on sentences
PART_TOKENS = 2048  # that are summarized at a time
SUMMARY_TOKENS = 256  # of a summary, where the files of a model do not say
TRANSLATION_RATIO = 3  # the most tokens of a translation for each of the text, as in Marian (max-length-factor) …
TRANSLATION_LEAST = 32  # … or so many, for texts of a few tokens

_T5_TRANSLATION = re.compile(r"translation_([a-z]+)_to_([a-z]+)")


def is_instructed(files: ModelFiles) -> bool:
    """Whether a model can be asked in words: it has a template of chats."""
    return files.tokenizer.chat_template is not None


def can_translate(files: ModelFiles, model: Writer) -> bool:
    """Whether a model can be asked for translations."""
    if isinstance(model, EncoderDecoderModel):
        return files.config.get("model_type") == "marian" or bool(language_pairs(files))
    return is_instructed(files)


def can_summarize(files: ModelFiles, model: Writer) -> bool:
    """Whether a model can be asked for summaries."""
    return "summarization" in tasks(files) if isinstance(model, EncoderDecoderModel) else is_instructed(files)


def language_pairs(files: ModelFiles) -> tuple[Pair, ...]:
    """The pairs that a model was made for, as far as its files say."""
    of_tasks = (_T5_TRANSLATION.fullmatch(name) for name in tasks(files))
    return files.languages or tuple((match[1], match[2]) for match in of_tasks if match)


def chat_tokens(files: ModelFiles, messages: Sequence[Mapping[str, str]]) -> list[int]:
    """The tokens of a chat, up to where the answer begins. Raises TemplateError, and TextError."""
    template = files.tokenizer.chat_template
    if template is None:
        raise ValueError(f"{files.path.name} has no chat template")
    text = render(template, messages, files.tokenizer.special_tokens)
    return files.tokenizer.encode(text, special_tokens=False).ids


def translation(files: ModelFiles, model: Writer, pair: Pair) -> Instruction:
    """How a model that can translate is asked to; an empty source language is for it to find out."""
    source, target = pair
    if isinstance(model, EncoderDecoderModel):
        task = f"translation_{source}_to_{target}"
        return _by_prefix(files, model, task, SENTENCE_TOKENS, packed=False, most=0)
    languages = f"from {name_of(source)} to {name_of(target)}" if source else f"to {name_of(target)}"
    return _in_words(
        files,
        model,
        f"Translate the following text {languages}. Answer with the translation only.",
        SENTENCE_TOKENS,
        packed=False,
        answer_tokens=lambda tokens: max(TRANSLATION_LEAST, TRANSLATION_RATIO * tokens),
    )


def summary(files: ModelFiles, model: Writer) -> Instruction:
    """How a model that can summarize is asked to."""
    if isinstance(model, EncoderDecoderModel):
        return _by_prefix(files, model, "summarization", PART_TOKENS, packed=True, most=SUMMARY_TOKENS)
    return _in_words(
        files,
        model,
        "Summarize the following text in a few sentences. Answer with the summary only.",
        PART_TOKENS,
        packed=True,
        answer_tokens=lambda _: SUMMARY_TOKENS,
    )


def _by_prefix(
    files: ModelFiles, model: EncoderDecoderModel[Any], task: str, tokens: int, *, packed: bool, most: int
) -> Instruction:
    """`most`: the tokens of an answer where the files do not know the task, or do not say."""
    of_task = tasks(files).get(task)
    said = None if of_task is None else said_length(files, model.prompt_ids, of_task)
    prefix = (of_task or {}).get("prefix") or ""

    def prompt(text: str) -> Sequence[int]:
        return files.tokenizer.encode(prefix + text).ids

    return Instruction(
        prompt=prompt,
        part_tokens=max(1, min(tokens, model.source_tokens - len(prompt("")))),
        packed=packed,
        answer_tokens=lambda _: most if said is None else said,
        constraints=constraints(files, task, encoder_decoder=True),
    )


def _in_words(
    files: ModelFiles,
    model: DecoderModel,
    words: str,
    tokens: int,
    *,
    packed: bool,
    answer_tokens: Callable[[int], int],
) -> Instruction:
    def prompt(text: str) -> Sequence[int]:
        return chat_tokens(files, [{"role": "user", "content": f"{words}\n\n{text}"}])

    room = model.context_tokens - len(prompt(""))
    return Instruction(
        prompt=prompt,
        part_tokens=max(1, min(tokens, room // 2)),
        packed=packed,
        answer_tokens=answer_tokens,
        constraints=constraints(files, encoder_decoder=False),
    )
