"""What the files of a model ask of its answers: the tokens that may not come in them.

The first token that some files force is read with the prompt (`answers.prompt_ids`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any

from qkv_server.transformers.errors import ModelFileError
from qkv_server.transformers.families.answers import tasks
from qkv_server.transformers.families.config import of_answers, refusal
from qkv_server.transformers.files import ModelFiles
from qkv_server.transformers.generation.constraints import Constraints


def constraints(files: ModelFiles, task: str = "", *, encoder_decoder: bool) -> Constraints:
    """What the files say of a task of `task_specific_params`, or of answers at large. Raises ModelFileError.

    The output of an encoder-decoder knows of single tokens that never come (`answers.without_suppressed`).
    """
    fields = _Fields(files, tasks(files).get(task, {}))
    new_tokens = fields.count("min_new_tokens")
    banned = [tokens for tokens in fields.sequences("bad_words_ids") if len(tokens) > 1 or not encoder_decoder]
    return Constraints(
        no_repeat=fields.count("no_repeat_ngram_size"),
        # Of an encoder-decoder all but the first token that its decoder reads is new, also one that is forced.
        least_tokens=max(fields.count("min_length"), 1 + new_tokens if encoder_decoder and new_tokens else 0),
        least_new_tokens=0 if encoder_decoder else new_tokens,
        banned=(*banned, *((token,) for token in fields.tokens("suppress_tokens"))),
        forced_end=next(iter(fields.tokens("forced_eos_token_id")), None),
    )


def check_constraints(files: ModelFiles, *, encoder_decoder: bool) -> None:
    """Raise ModelFileError if what the files say of answers, or of any task, cannot be."""
    for task in ("", *tasks(files)):
        constraints(files, task, encoder_decoder=encoder_decoder)


@dataclass(frozen=True, slots=True)
class _Fields:
    """What a task says, else generation_config.json, else config.json. Its methods raise ModelFileError."""

    files: ModelFiles
    of_task: Mapping[str, Any]

    def count(self, name: str) -> int:
        """A whole number; 0 where nothing is said."""
        value = self._value(name) or 0
        if not _is_count(value):
            raise self._refusal(name, value, "a whole number from 0")
        return int(value)

    def tokens(self, name: str) -> list[int]:
        """A token, several, or none."""
        value = self._value(name)
        tokens = value if isinstance(value, list) else [] if value is None else [value]
        if not all(map(_is_count, tokens)):
            raise self._refusal(name, value, "the number of a token, or several")
        return tokens

    def sequences(self, name: str) -> list[tuple[int, ...]]:
        """Several tokens in a row each."""
        value = self._value(name) or []
        if not isinstance(value, list) or not all(isinstance(row, list) and row for row in value):
            raise self._refusal(name, value, "lists of tokens")
        if not all(map(_is_count, chain.from_iterable(value))):
            raise self._refusal(name, value, "lists of tokens")
        return [tuple(row) for row in value]

    def _value(self, name: str) -> Any:
        return self.of_task[name] if self.of_task.get(name) is not None else of_answers(self.files, name)

    def _refusal(self, name: str, value: object, expected: str) -> ModelFileError:
        if self.of_task.get(name) is None:
            return refusal(self.files, name, expected)
        return ModelFileError(self.files.path, f"config has {name!r} of a task: {value!r}, expected {expected}")


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
