"""What the files of a model say, in whatever format they are."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from qkv_server.transformers.errors import ModelFileError
from qkv_server.transformers.files.weights import Weights
from qkv_server.transformers.text.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """A model as its files have it, under the names of Hugging Face.

    `config` is config.json; the readers of other formats translate what these say into its names, `model_type` above
    all. `generation` is generation_config.json. `sentence` is what the modules of sentence-transformers say: `pooling`
    (mean, cls, last), `normalize` (bool), `max_seq_length` (int); each only if the files say it. `languages` are the
    pairs (source, target) of BCP 47 tags that a translation model was made for.
    """

    path: Path
    config: Mapping[str, Any]
    weights: Weights
    tokenizer: Tokenizer
    generation: Mapping[str, Any] = field(default_factory=dict)
    sentence: Mapping[str, Any] = field(default_factory=dict)
    languages: tuple[tuple[str, str], ...] = ()

    @property
    def end_ids(self) -> frozenset[int]:
        """The tokens that end an answer: what generation_config.json says, else config.json, else the tokenizer.

        Raises ModelFileError.
        """
        for file, said in (("generation_config", self.generation), ("config", self.config)):
            given = said.get("eos_token_id")
            if given is not None:
                ends = given if isinstance(given, list) else [given]
                if not all(type(end) is int and end >= 0 for end in ends):
                    problem = f"{file} has 'eos_token_id': {given!r}, expected the number of a token, or several"
                    raise ModelFileError(self.path, problem)
                return frozenset(ends)
        end = self.tokenizer.special_ids.get("eos_token")
        return frozenset() if end is None else frozenset([end])
