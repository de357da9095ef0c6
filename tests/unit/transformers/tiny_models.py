"""The tiny models of tests/goldens/tiny_models and what `transformers` computed with them."""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

FOLDER = Path(__file__).parents[2] / "goldens" / "tiny_models"

Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class Question:
    """A text, and what the oracle computed of it."""

    ids: list[int]
    logits: Array  # (L, V)
    hidden_states: Array  # (layers + 1, L, D)
    attentions: Array  # (layers, H, L, L)
    greedy_ids: list[int]
    greedy_margins: list[float]


@cache
def questions(name: str) -> list[Question]:
    """What was asked of a decoder."""
    arrays = np.load(FOLDER / name / "goldens.npz")
    asked = json.loads((FOLDER / name / "goldens.json").read_text())["questions"]
    return [
        Question(
            ids=question["input_ids"],
            logits=arrays[f"{number}/logits"],
            hidden_states=arrays[f"{number}/hidden_states"],
            attentions=arrays[f"{number}/attentions"],
            greedy_ids=question["greedy"]["ids"],
            greedy_margins=question["greedy"]["margins"],
        )
        for number, question in enumerate(asked)
    ]
