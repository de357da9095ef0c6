"""How answers begin and end, and what never comes in them, as the files of the model say."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from qkv_server.transformers.families.config import (
    MOST,
    is_count,
    is_token,
    mapping,
    of_answers,
    refusal,
    token,
    token_list,
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

    Checked are `prefix`, what is written before a text, and `max_length`, of an answer. Raises ModelFileError.
    """
    name = "task_specific_params"
    said = mapping(files, name)
    for task, of_task in said.items():
        if not isinstance(of_task, Mapping):
            raise refusal(files, name, f"a mapping for {task!r}")
        if not isinstance(of_task.get("prefix"), str | None):
            raise refusal(files, name, f"a text as prefix of {task!r}")
        if of_task.get("max_length") is not None and not is_count(of_task["max_length"]):
            raise refusal(files, name, f"a whole number from 1 to {MOST} as max_length of {task!r}")
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
    for name, before in (("max_new_tokens", 0), ("max_length", len(prompt))):
        most = of_answers(files, name)
        if most is None:
            continue
        if type(most) is not int or most <= before:
            raise refusal(files, name, f"a whole number above {before}")
        return min(room, most - before)
    return room


def without_suppressed(files: ModelFiles, bias: Array | None, vocabulary_size: int) -> Array | None:
    """The bias (V,) of the output with −inf for tokens that never come: those of `bad_words_ids`.

    What that says of several tokens in a row is not implemented. Raises ModelFileError.
    """
    banned = of_answers(files, "bad_words_ids") or []
    if not isinstance(banned, list) or not all(
        isinstance(words, list) and all(is_token(word, vocabulary_size) for word in words) for words in banned
    ):
        raise refusal(files, "bad_words_ids", f"lists of numbers of tokens, below {vocabulary_size}")
    never = [words[0] for words in banned if len(words) == 1]
    if not never:
        return bias
    changed = np.zeros(vocabulary_size, np.float32) if bias is None else bias.copy()
    changed[never] = -np.inf
    return changed
