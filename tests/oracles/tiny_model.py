"""What a tiny model is made of, and the sizes that all have."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tokenizers import Tokenizer

HIDDEN, HEADS, LAYERS, POSITIONS = 32, 4, 2, 64
FEED_FORWARD = 40
WINDOW = 6  # of those that have one: shorter than the texts
CAUSAL, MASKED, LABELS, SEQUENCE_TO_SEQUENCE = (
    "AutoModelForCausalLM",
    "AutoModel",
    "AutoModelForTokenClassification",
    "AutoModelForSeq2SeqLM",
)


@dataclass(frozen=True, slots=True)
class Tiny:
    """A model to be made: what `transformers` calls it, its config, its tokenizer, and how its folder is written."""

    name: str
    task: str  # the class of transformers that reads it
    config: Callable[..., Any]
    tokenizer: Callable[[], Tokenizer]
    special: Mapping[str, str]  # bos_token and so on
    options: Mapping[str, Any]  # of the config
    number: str = "float32"
    embedding_spread: float = 0.5  # so that the likeliest token stands out
    shard_size: str = "1GB"
    chat_template: str | None = None
    generation: Mapping[str, Any] = field(default_factory=dict)
    older_rotary: bool = False  # rope_theta and rope_scaling, as most published configs have, not rope_parameters
