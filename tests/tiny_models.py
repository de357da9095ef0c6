"""The tiny models of tests/goldens/tiny_models, and what `transformers` computed with them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from qkv_server.transformers.files import read_model
from qkv_server.transformers.loading import load
from qkv_server.transformers.stacks.decoder import DecoderModel
from qkv_server.transformers.stacks.encoder_decoder import EncoderDecoderModel
from qkv_server.transformers.stacks.encoder_model import EncoderModel

FOLDER = Path(__file__).parent / "goldens" / "tiny_models"

Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class Question:
    """A text, and what the oracle computed of it; of an encoder-decoder the text is its source."""

    ids: list[int]
    arrays: Mapping[str, Array]  # by name, as hidden_states (layers + 1, L, D) and attentions (layers, H, L, L)
    decoder_ids: list[int]  # what the decoder of an encoder-decoder reads: its start and the answer
    greedy_ids: list[int]
    greedy_margins: list[float | None]  # between the two best tokens; None where the oracle was not free to choose

    @property
    def logits(self) -> Array:
        """(L, V), after each token that the decoder reads."""
        return self.arrays["logits"]


@cache
def questions(name: str) -> list[Question]:
    """What was asked of a model."""
    with np.load(FOLDER / name / "goldens.npz") as archive:
        arrays = dict(archive)
    asked = json.loads((FOLDER / name / "goldens.json").read_text("utf-8"))["questions"]
    return [
        Question(
            ids=question["input_ids"],
            arrays={key.partition("/")[2]: arrays[key] for key in arrays if key.startswith(f"{number}/")},
            decoder_ids=question.get("decoder_ids", []),
            greedy_ids=question.get("greedy", {}).get("ids", []),
            greedy_margins=question.get("greedy", {}).get("margins", []),
        )
        for number, question in enumerate(asked)
    ]


def tiny_encoder(name: str) -> EncoderModel:
    model = _loaded(name)
    assert isinstance(model, EncoderModel)
    return model


def tiny_decoder(name: str) -> DecoderModel:
    model = _loaded(name)
    assert isinstance(model, DecoderModel)
    return model


def tiny_encoder_decoder(name: str) -> EncoderDecoderModel[Any]:
    model = _loaded(name)
    assert isinstance(model, EncoderDecoderModel)
    return model


@cache
def _loaded(name: str) -> EncoderModel | DecoderModel | EncoderDecoderModel[Any]:
    folder = FOLDER / name
    return load(read_model(next(folder.glob("*.gguf"), folder)))
