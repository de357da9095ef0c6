"""What a model is to its callers."""

from collections.abc import Collection
from dataclasses import dataclass
from enum import Enum

import numpy as np


class Task(Enum):
    """What a model can be asked for; the values are the words for it."""

    EMBED = "embed"
    ENCODE = "encode"
    GENERATE = "generate"
    CHAT = "chat"
    SUMMARIZE = "summarize"
    TRANSLATE = "translate"


def words(tasks: Collection[Task]) -> list[str]:
    """What can be asked for, in the order of the contract."""
    return [task.value for task in Task if task in tasks]


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """The facts of a model that was loaded, with the names of the contract's Model."""

    architecture: str
    tasks: frozenset[Task]
    parameters: int
    weight_bytes: int
    weight_type: np.dtype[np.generic]
    hidden_size: int
    layers: int
    decoder_layers: int = 0
    heads: int
    context_tokens: int = 0  # 0: no bound of its own
    vocabulary_size: int
    languages: tuple[tuple[str, str], ...] = ()
    labels: tuple[str, ...] = ()
