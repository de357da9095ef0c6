"""What an architecture is: its sizes and the choices that tell it from others. Families build these from a config.

Letters in the shapes: N tokens, D hidden size, Hq query heads, Hkv key and value heads, Dh head size, F feed-forward
size, V vocabulary.
"""

from dataclasses import dataclass
from enum import Enum, auto

from qkv_server.core import LinearScaling, Llama3Scaling, YarnScaling


class NormKind(Enum):
    """How activations are normalized."""

    LAYER = auto()  # "Layer Normalization" (Ba et al., 2016)
    RMS = auto()  # "Root Mean Square Layer Normalization" (Zhang and Sennrich, 2019)


@dataclass(frozen=True, kw_only=True, slots=True)
class RotaryDescription:
    """How positions turn queries and keys ("RoFormer", Su et al., 2021)."""

    base: float
    scaling: LinearScaling | YarnScaling | Llama3Scaling | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerDescription:
    """In what the layers of one decoder may differ."""

    window: int | None = None  # keys that a query sees, its own included; None: all
    rotary: RotaryDescription | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class DecoderDescription:
    """A decoder-only transformer with norms before its blocks (pre-norm)."""

    architecture: str  # model_type of its config
    vocabulary_size: int  # V
    context_tokens: int
    hidden_size: int  # D
    heads: int  # Hq
    kv_heads: int  # Hkv
    head_size: int  # Dh
    feed_forward_size: int  # F
    norm: NormKind
    norm_epsilon: float
    layers: tuple[LayerDescription, ...]
    scale: float  # of scores
    softcap: float = 0.0  # of scores; 0 is off
    output_softcap: float = 0.0  # of logits; 0 is off
    embedding_scale: float = 1.0
    end_ids: frozenset[int] = frozenset()
