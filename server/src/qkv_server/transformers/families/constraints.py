"""What the files of a model ask of its answers: the tokens that may not come in them.

The first token that some files force is read with the prompt (`answers.prompt_ids`).
"""

from collections.abc import Mapping
from typing import Any

from qkv_server.transformers.families.answers import tasks
from qkv_server.transformers.families.config import NO_TASK, of_answers, refusal, token_list, token_rows
from qkv_server.transformers.files import ModelFiles
from qkv_server.transformers.generation.constraints import Constraints


def constraints(files: ModelFiles, task: str = "", *, encoder_decoder: bool) -> Constraints:
    """What the files say of a task of `task_specific_params`, or of answers at large. Raises ModelFileError.

    The output of an encoder-decoder knows of single tokens that never come (`answers.without_suppressed`).
    """
    of_task = tasks(files).get(task, NO_TASK)
    new_tokens = _least(files, "min_new_tokens", of_task)
    rows = token_rows(files, "bad_words_ids", of_task)
    banned = [tuple(row) for row in rows if len(row) > 1 or not encoder_decoder]
    return Constraints(
        no_repeat=_least(files, "no_repeat_ngram_size", of_task),
        # Of an encoder-decoder all but the first token that its decoder reads is new, also one that is forced.
        least_tokens=max(_least(files, "min_length", of_task), 1 + new_tokens if encoder_decoder and new_tokens else 0),
        least_new_tokens=0 if encoder_decoder else new_tokens,
        banned=(*banned, *((token,) for token in token_list(files, "suppress_tokens", of_task))),
        forced_end=next(iter(token_list(files, "forced_eos_token_id", of_task)), None),
    )


def check_constraints(files: ModelFiles, *, encoder_decoder: bool) -> None:
    """Raise ModelFileError if what the files say of answers, or of any task, cannot be."""
    for task in ("", *tasks(files)):
        constraints(files, task, encoder_decoder=encoder_decoder)


def _least(files: ModelFiles, name: str, of_task: Mapping[str, Any]) -> int:
    """A whole number of tokens; 0 where nothing is said. Raises ModelFileError."""
    value = of_answers(files, name, of_task) or 0
    if type(value) is not int or value < 0:
        raise refusal(files, name, "a whole number from 0", of_task)
    return value
