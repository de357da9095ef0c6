"""What the files of a model say, in whatever format they are."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from qkv_server.transformers.files.weights import Weights
from qkv_server.transformers.text.tokenizer import Tokenizer

PoolingName = Literal["mean", "cls", "last"]


@dataclass(frozen=True, slots=True)
class SentenceSettings:
    """How the vector of a text is made of the states of its tokens, as the files of sentence-transformers say."""

    pooling: PoolingName = "mean"
    normalize: bool = True
    max_seq_length: int | None = None  # tokens of a text that are read; None: as many as the model can


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """A model as its files have it, under the names of Hugging Face.

    `config` is config.json; the readers of other formats translate what these say into its names, `model_type` above
    all. `generation` is generation_config.json. `languages` are the pairs (source, target) of BCP 47 tags that a
    translation model was made for.
    """

    path: Path
    config: Mapping[str, Any]
    weights: Weights
    tokenizer: Tokenizer
    generation: Mapping[str, Any] = field(default_factory=dict)
    sentence: SentenceSettings = SentenceSettings()
    languages: tuple[tuple[str, str], ...] = ()
