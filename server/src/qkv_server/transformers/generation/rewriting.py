"""Translations and summaries of texts of any length: split at the ends of sentences, answered, and joined."""

from typing import Any

from qkv_server.transformers.generation.documents import DocumentPart, submit_document
from qkv_server.transformers.generation.engine import Engine, Handle
from qkv_server.transformers.generation.instructions import Instruction
from qkv_server.transformers.generation.request import GenerationRequest, OnEvent
from qkv_server.transformers.generation.sampling import Sampling
from qkv_server.transformers.text.sentences import fitting, packed, sentences


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

    `max_tokens` are those of the answer to one part; 0: as the instruction says. Raises RefusedError, ClosedError,
    TextError, and TemplateError.
    """
    asking = len(instruction.prompt(""))

    def count(part: str) -> int:
        return len(instruction.prompt(part)) - asking

    def request(part: str) -> GenerationRequest:
        prompt = tuple(instruction.prompt(part))
        most = max_tokens or min(instruction.answer_tokens(len(prompt) - asking), engine.room(prompt))
        return GenerationRequest(prompt=prompt, max_tokens=most, sampling=sampling or Sampling(), seed=seed)

    parts = fitting(sentences(text), count, instruction.part_tokens)
    if instruction.packed:
        parts = packed(parts, count, instruction.part_tokens)
    document = [DocumentPart(request(part.text) if part.text else None, part.space) for part in parts]
    return submit_document(engine, document, on_event)
