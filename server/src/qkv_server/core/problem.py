"""What an attention call means: the arrays, the options, and what to answer. Field names are those of the contract.

Letters in the shapes: B batch rows, L queries, S new keys, P cached keys, T = P + S, Hq query heads, Hkv key and value
heads, D head size of query and key, Dv head size of value.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any

import numpy as np
import numpy.typing as npt

from qkv_server.core.rotary_scaling import Scaling

Array = npt.NDArray[Any]

PROJECTIONS = ("query_weight", "key_weight", "value_weight", "output_weight")
BIASES = ("query_bias", "key_bias", "value_bias", "output_bias")
EXTRAS = ("extra_key", "extra_value")


class AxisOrder(Enum):
    """The order of the axes of rank-4 query, key, value and output; caches are always heads first."""

    HEADS_FIRST = auto()  # (B, H, L, D)
    SEQUENCE_FIRST = auto()  # (B, L, H, D)


class MaskPolarity(Enum):
    """What true means in a boolean mask."""

    TRUE_ATTENDS = auto()
    TRUE_HIDES = auto()


class Alignment(Enum):
    """Where query i stands among the keys, for causality and windows."""

    TOP_LEFT = auto()  # at P + i
    BOTTOM_RIGHT = auto()  # the last valid query stands at the last valid key


class EmptyRow(Enum):
    """What a query that may see no key is answered with."""

    ZERO = auto()
    NAN = auto()
    MEAN_VALUE = auto()


class SoftmaxAxis(Enum):
    """The axis of the (query, key) scores along which weights sum to 1."""

    KEYS = auto()
    QUERIES = auto()


class LogBase(Enum):
    """The base of log-sum-exp."""

    E = auto()
    TWO = auto()


class RotaryPairing(Enum):
    """Which features rotary embedding turns together."""

    HALF_SPLIT = auto()  # i and i + size / 2
    INTERLEAVED = auto()  # 2i and 2i + 1


class Path(Enum):
    """How the core computes; the answers differ by rounding alone."""

    REFERENCE = "reference"  # the definition, which holds all scores
    BATCHED = "batched"  # several small heads at a time
    TILED = "tiled"  # blocks of queries over tiles of keys
    DECODE = "decode"  # few queries over many keys


class Quantity(Enum):
    """An intermediate result that an answer may carry; the value is its attribute of `Answer`."""

    __hash__ = object.__hash__  # an Enum hashes its name anew for each look into a set

    SCORES = "scores"
    CAPPED_SCORES = "capped_scores"
    MASKED_SCORES = "masked_scores"
    WEIGHTS = "weights"
    AVERAGED_WEIGHTS = "averaged_weights"
    LOG_SUM_EXP = "log_sum_exp"
    PRESENT_KEY = "present_key"
    PRESENT_VALUE = "present_value"


@dataclass(frozen=True, eq=False, kw_only=True, slots=True)
class MultiHead:
    """Heads of the last axis, and projections as `torch.nn.Linear` stores them: (out, in), y = x·Wᵀ + b."""

    heads: int = 0  # Hq; 0 is one head
    kv_heads: int = 0  # Hkv; 0 is as many as heads
    axis_order: AxisOrder = AxisOrder.HEADS_FIRST
    query_weight: Array | None = None  # (Hq·D, features of query)
    key_weight: Array | None = None  # (Hkv·D, features of key)
    value_weight: Array | None = None  # (Hkv·Dv, features of value)
    output_weight: Array | None = None  # (out, Hq·Dv)
    query_bias: Array | None = None  # (Hq·D,)
    key_bias: Array | None = None  # (Hkv·D,)
    value_bias: Array | None = None  # (Hkv·Dv,)
    output_bias: Array | None = None  # (out,)
    extra_key: Array | None = None  # (Hkv·D,) or (1, 1, Hkv·D)
    extra_value: Array | None = None  # (Hkv·Dv,) or (1, 1, Hkv·Dv)
    add_zero_attention: bool = False


@dataclass(frozen=True, eq=False, kw_only=True, slots=True)
class Visibility:
    """Which keys a query may see: a pair is visible when every part that is set allows it."""

    mask: Array | None = None  # bool or floating, broadcast to (B, Hq, L, T), padded with hidden
    mask_polarity: MaskPolarity = MaskPolarity.TRUE_ATTENDS
    causal: bool = False
    alignment: Alignment | None = None  # needed exactly when the two give different answers
    window_left: int | None = None  # keys before its own position; None is all
    window_right: int | None = None  # keys after its own position; None is all
    key_lengths: Sequence[int] = ()  # B of them, or none
    query_lengths: Sequence[int] = ()  # B of them, or none
    empty_row: EmptyRow = EmptyRow.ZERO
    chunk_size: int = 0  # keys of the position's own chunk alone; 0 is off
    cumulative_query_lengths: Sequence[int] = ()  # 0, …, L: where the segments of packed queries begin and end
    cumulative_key_lengths: Sequence[int] = ()  # 0, …, S; none: as the queries'
    block_map: Array | None = None  # bool (B or 1, Hq or 1, blocks of queries, blocks of keys), or of lower rank
    query_block_size: int = 0  # queries of a block
    key_block_size: int = 0  # keys of a block; 0 is query_block_size


@dataclass(frozen=True, eq=False, kw_only=True, slots=True)
class Alibi:
    """Linear biases: −slope·|position − key| ("Train Short, Test Long", Press et al., 2022)."""

    slopes: Array | None = None  # (Hq,) or (B, Hq); None: the paper's


@dataclass(frozen=True, eq=False, kw_only=True, slots=True)
class RelativeBias:
    """Learned biases by distance: table[bucket(key − position), head] (T5, Raffel et al., 2020, section 2.1)."""

    table: Array  # (buckets, Hq)
    bidirectional: bool = False  # whether keys after the position have buckets of their own
    max_distance: int = 0  # distances from here on share a bucket; 0 is 128


@dataclass(frozen=True, eq=False, kw_only=True, slots=True)
class Rotary:
    """Rotary position embedding of query and key ("RoFormer", Su et al., 2021)."""

    base: float = 0.0  # 0 is 10000
    rotary_size: int = 0  # features of each head that are turned, the first ones; 0 is all
    pairing: RotaryPairing = RotaryPairing.HALF_SPLIT
    query_positions: Array | None = None  # integers (L,) or (B, L); None: as the alignment says
    key_positions: Array | None = None  # integers (S,) or (B, S); None: P + j, from the first key of the segment
    sequence_length: int = 0  # what scaling may look at; 0: the largest position, plus 1
    scaling: Scaling | None = None


@dataclass(frozen=True, eq=False, kw_only=True, slots=True)
class Scoring:
    """How a visible pair is scored and how scores become weights."""

    scale: float | None = None  # None is 1/√D
    softcap: float = 0.0  # c > 0: c·tanh(score/c), before the mask; 0 is off
    softmax_axis: SoftmaxAxis = SoftmaxAxis.KEYS
    softmax_precision: np.dtype[Any] | None = None  # None: float64 if an operand is float64, else float32
    log_base: LogBase = LogBase.E  # of log-sum-exp alone
    sinks: Array | None = None  # (Hq,): scores that join the softmax with no key and no value
    alibi: Alibi | None = None
    relative_bias: RelativeBias | None = None


@dataclass(frozen=True, eq=False, kw_only=True, slots=True)
class Problem:
    """One attention call. Ranks of query, key and value: 2 (L, D), 3 (B, L, D), with head counts (…, L, Hq·D), or 4."""

    query: Array
    key: Array | None = None  # None: the query
    value: Array | None = None  # None: the key
    multi_head: MultiHead = field(default_factory=MultiHead)
    visibility: Visibility = field(default_factory=Visibility)
    scoring: Scoring = field(default_factory=Scoring)
    past_key: Array | None = None  # (B, Hkv, P, D); rank 2: (P, D), or (Hkv, P, D) with head counts
    past_value: Array | None = None  # as past_key, with Dv
    outputs: frozenset[Quantity] = frozenset()
    path: Path | None = None  # None: the fastest for the problem
    rotary: Rotary | None = None

    def arrays(self) -> Iterator[tuple[str, Array]]:
        """Every array that takes part in the arithmetic, by the path of its field; the mask does not."""
        for name in ("query", "key", "value", "past_key", "past_value"):
            if (array := getattr(self, name)) is not None:
                yield name, array
        for name in (*PROJECTIONS, *BIASES, *EXTRAS):
            if (array := getattr(self.multi_head, name)) is not None:
                yield f"multi_head.{name}", array


@dataclass(frozen=True, eq=False, kw_only=True, slots=True)
class Answer:
    """The output, and the quantities asked for; the others are None. Shapes as the contract says."""

    output: Array
    scores: Array | None = None
    capped_scores: Array | None = None
    masked_scores: Array | None = None
    weights: Array | None = None
    averaged_weights: Array | None = None
    log_sum_exp: Array | None = None
    present_key: Array | None = None
    present_value: Array | None = None
    path: Path


@dataclass(frozen=True, eq=False, kw_only=True, slots=True)
class PartialResult:
    """The answer of an attention over some of the keys."""

    output: Array  # as the answer's
    log_sum_exp: Array  # (B, H, L); for an output of rank 2 (L,) or (H, L)


@dataclass(frozen=True, eq=False, kw_only=True, slots=True)
class Gradients:
    """How a scalar changes with the operands of a call: each shaped and typed as its operand, None if not given."""

    d_query: Array
    d_key: Array | None = None
    d_value: Array | None = None
    d_mask: Array | None = None
    d_sinks: Array | None = None
    path: Path
