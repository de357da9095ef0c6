"""How answers begin and end, and what never comes in them, as the files of the model say."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from qkv_server.transformers.families.config import (
    NO_TASK,
    mapping,
    of_answers,
    refusal,
    token,
    token_list,
    token_rows,
)
from qkv_server.transformers.files import ModelFiles

Array = npt.NDArray[np.float32]


def end_ids(files: ModelFiles) -> frozenset[int]:
    """The tokens that end an answer: what the files say of answers, else the tokenizer. Raises ModelFileError."""
    end = files.tokenizer.special_ids.get("eos_token")
    of_tokenizer = [] if end is None else [end]
    return frozenset(token_list(files, "eos_token_id") or of_tokenizer)


def tasks(files: ModelFiles) -> Mapping[str, Mapping[str, Any]]:
    """What the config says of the tasks that the model was made for, by name: fields as those of answers.

    Checked is `prefix`, what is written before a text. Raises ModelFileError.
    """
    name = "task_specific_params"
    said = mapping(files, name)
    for task, of_task in said.items():
        if not isinstance(of_task, Mapping):
            raise refusal(files, name, f"a mapping for {task!r}")
        if not isinstance(of_task.get("prefix"), str | None):
            raise refusal(files, name, f"a text as prefix of {task!r}")
    return said


def prompt_ids(files: ModelFiles) -> tuple[int, ...]:
    """What the decoder of an encoder-decoder reads before it answers. Raises ModelFileError.

    The first token of an answer may be forced; the decoder reads it at once.
    """
    start = token(files, "decoder_start_token_id")
    if start is None:
        raise refusal(files, "decoder_start_token_id", "the number of a token")
    first = token(files, "forced_bos_token_id")
    return (start,) if first is None else (start, first)


def longest_answer(files: ModelFiles, prompt: Sequence[int], positions: int) -> int:
    """The most tokens of an answer, its end included, of a decoder that reads so many: fewer where the files say so.

    Raises ModelFileError.
    """
    room = positions - len(prompt)
    return min(room, said_length(files, prompt) or room)


def said_length(files: ModelFiles, prompt: Sequence[int], of_task: Mapping[str, Any] = NO_TASK) -> int | None:
    """The most tokens of an answer, its end included, if the files say it by `max_new_tokens`, or by `max_length`.

    The latter counts what the decoder reads before, as in Hugging Face's transformers. Raises ModelFileError.
    """
    lengths = []
    for name, before in (("max_new_tokens", 0), ("max_length", len(prompt))):
        most = of_answers(files, name, of_task)
        if most is None:
            continue
        if type(most) is not int or most <= before:
            raise refusal(files, name, f"a whole number above {before}", of_task)
        lengths.append(most - before)
    return lengths[0] if lengths else None


def check_lengths(files: ModelFiles, prompt: Sequence[int]) -> None:
    """Raise ModelFileError if what the files say of the length of answers to any task cannot be."""
    for of_task in tasks(files).values():
        said_length(files, prompt, of_task)


def without_suppressed(files: ModelFiles, bias: Array | None, vocabulary_size: int) -> Array | None:
    """The bias (V,) of the output with −inf for tokens that never come: those of `bad_words_ids`.

    Runs of several tokens are for `generation.constraints`. Raises ModelFileError.
    """
    never = [row[0] for row in token_rows(files, "bad_words_ids") if len(row) == 1]
    if not never:
        return bias
    changed = np.zeros(vocabulary_size, np.float32) if bias is None else bias.copy()
    changed[never] = -np.inf
    return changed
