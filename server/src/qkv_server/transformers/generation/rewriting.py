"""Translations and summaries of texts of any length: split at the ends of sentences, answered, and joined."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from qkv_server.transformers.generation.constraints import NONE, Constraints
from qkv_server.transformers.generation.documents import DocumentPart, submit_document
from qkv_server.transformers.generation.engine import Engine, Handle
from qkv_server.transformers.generation.request import GenerationRequest, OnEvent
from qkv_server.transformers.generation.sampling import Sampling
from qkv_server.transformers.text.sentences import fitting, packed, sentences

REMEMBERED = 4  # prompts: what was counted last is asked for next


@dataclass(frozen=True, slots=True, kw_only=True)
class Instruction:
    """How a model is asked to rewrite a text."""

    prompt: Callable[[str], Sequence[int]]  # the tokens that ask for a part of the text
    part_tokens: int  # the most of such a part, without those that say what is asked
    packed: bool  # parts are as many sentences as fit; else single sentences
    answer_tokens: Callable[[int], int]  # the most of an answer to a part of so many; 0: what the model was made for
    constraints: Constraints = NONE  # of an answer


def rewrite(
    engine: Engine[Any],
    instruction: Instruction,
    text: str,
    on_event: OnEvent,
    *,
    max_tokens: int = 0,
    sampling: Sampling | None = None,
    seed: int | None = None,
) -> Handle:
    """Have a text rewritten, and tell the events as those of one answer: see `documents.submit_document`.

    `max_tokens` are the most of the answer to one part, where there is room for them; 0: as the instruction says.
    Raises RefusedError, TextError, and TemplateError.
    """

    @lru_cache(maxsize=REMEMBERED)
    def prompt_of(part: str) -> tuple[int, ...]:
        return tuple(instruction.prompt(part))

    asking = len(prompt_of(""))

    def count(part: str) -> int:
        return len(prompt_of(part)) - asking

    def request(part: str) -> GenerationRequest:
        prompt = prompt_of(part)
        return GenerationRequest(
            prompt=prompt,
            max_tokens=min(max_tokens or instruction.answer_tokens(len(prompt) - asking), engine.room(prompt)),
            sampling=sampling or Sampling(),
            constraints=instruction.constraints,
            seed=seed,
        )

    parts = fitting(sentences(text), count, instruction.part_tokens)
    if instruction.packed:
        parts = packed(parts, count, instruction.part_tokens)
    document = [DocumentPart(request(part.text) if part.text else None, part.space) for part in parts]
    return submit_document(engine, document, on_event)
