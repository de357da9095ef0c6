"""The options of calls as Python people write them: keyword arguments, strings for named choices."""

from collections.abc import Iterable, Sequence
from typing import Any, Literal, Required, TypedDict

import numpy as np
import numpy.typing as npt

from qkv._rotary import RotaryOptions

AxisOrderName = Literal["heads_first", "sequence_first"]
MaskPolarityName = Literal["true_attends", "true_hides"]
AlignmentName = Literal["top_left", "bottom_right"]
EmptyRowName = Literal["zero", "nan", "mean_value"]
SoftmaxAxisName = Literal["keys", "queries"]
LogBaseName = Literal["e", "two"]
PathName = Literal["reference", "batched", "tiled", "decode"]
QuantityName = Literal[
    "scores",
    "capped_scores",
    "masked_scores",
    "weights",
    "averaged_weights",
    "log_sum_exp",
    "present_key",
    "present_value",
]

Lengths = Sequence[int] | npt.NDArray[np.integer[Any]]


class RelativeBiasOptions(TypedDict, total=False):
    """Learned biases by distance, as T5's."""

    table: Required[npt.ArrayLike]
    """(buckets, Hq)."""
    bidirectional: bool
    """Whether keys after the position have buckets of their own; False unless said."""
    max_distance: int
    """Distances from here on share the last bucket; 128 unless said."""


class ProblemOptions(TypedDict, total=False):
    """What every question about attention takes; None, and what is left out, is the contract's default."""

    mask: npt.ArrayLike | None
    """bool, or floating and added to the scores; broadcast to (B, Hq, L, T), a short last axis padded with hidden."""
    mask_polarity: MaskPolarityName | None
    """What true means in a boolean mask; "true_attends" unless said."""
    causal: bool | None
    """Whether a query is kept from the keys after its own position."""
    alignment: AlignmentName | None
    """Where queries stand among the keys; needed when the two would give two answers."""
    window: tuple[int | None, int | None] | None
    """(left, right): how many keys before and after its own position a query may see; None is all."""
    chunk_size: int | None
    """A query sees only the keys of its own chunk of so many positions; 0 is off."""
    key_lengths: Lengths | None
    """The number of valid keys of each batch row."""
    query_lengths: Lengths | None
    """The number of valid queries of each batch row."""
    cumulative_query_lengths: Lengths | None
    """0, …, L: where the segments of packed queries begin and end; flash-attn's cu_seqlens_q."""
    cumulative_key_lengths: Lengths | None
    """0, …, S: the same for the keys; cumulative_query_lengths unless said."""
    block_map: npt.ArrayLike | None
    """bool, (…, blocks of queries, blocks of keys): which blocks of pairs may be seen; needs block_size."""
    block_size: int | tuple[int, int] | None
    """The number of queries and of keys of a block, or one number for both."""
    empty_row: EmptyRowName | None
    """What a query that may see no key is answered with; "zero" unless said."""
    scale: float | None
    """The factor of Q·Kᵀ; 1/√D unless said."""
    softcap: float | None
    """c > 0: scores become c·tanh(score/c), before the mask."""
    softmax_axis: SoftmaxAxisName | None
    """The axis along which weights sum to 1; "keys" unless said."""
    softmax_precision: npt.DTypeLike | None
    """The floating type of the softmax."""
    log_base: LogBaseName | None
    """The base of log_sum_exp; "e" unless said."""
    sinks: npt.ArrayLike | None
    """(Hq): a score for each query head that joins its softmax with no key and no value."""
    alibi: bool | npt.ArrayLike | None
    """True: linear biases with the paper's slopes; or slopes, (Hq) or (B, Hq)."""
    relative_bias: RelativeBiasOptions | None
    """Learned biases by distance, {"table": …}."""
    rotary: RotaryOptions | None
    """Rotary position embedding of query and key, as {"base": 500000.0}; {} is as the contract's defaults say."""
    past_key: npt.ArrayLike | None
    """The cached keys that come before key: (B, Hkv, P, D)."""
    past_value: npt.ArrayLike | None
    """The cached values that come before value: (B, Hkv, P, Dv)."""
    path: PathName | None
    """How the server computes, for comparisons; the fastest unless said."""
    semantics_version: int
    """The version of the semantics to hold the server to; 0 is the newest."""
    timeout: float | None
    """Seconds until DeadlineExceededError; the client's own unless said."""
    wait_for_ready: bool | None
    """Whether to wait for the server to come up; the client's own unless said."""


class AttentionOptions(ProblemOptions, total=False):
    """What every attention call takes; None, and what is left out, is the contract's default."""

    outputs: Iterable[QuantityName] | None
    """What to return besides the output."""


class Projections(TypedDict, total=False):
    """What stands before and after the heads, as torch.nn.Linear stores it: weights (out, in), y = x·Wᵀ + b."""

    query_weight: npt.ArrayLike | None
    """(Hq·D, features of query)."""
    key_weight: npt.ArrayLike | None
    """(Hkv·D, features of key)."""
    value_weight: npt.ArrayLike | None
    """(Hkv·Dv, features of value)."""
    output_weight: npt.ArrayLike | None
    """(out, Hq·Dv)."""
    query_bias: npt.ArrayLike | None
    """(Hq·D)."""
    key_bias: npt.ArrayLike | None
    """(Hkv·D)."""
    value_bias: npt.ArrayLike | None
    """(Hkv·Dv)."""
    output_bias: npt.ArrayLike | None
    """(out)."""
    extra_key: npt.ArrayLike | None
    """(Hkv·D): one learned key that every query sees, torch's bias_k."""
    extra_value: npt.ArrayLike | None
    """(Hkv·Dv): its value, torch's bias_v."""
    add_zero_attention: bool | None
    """Whether a key and a value of zeros come after all others."""


class MultiHeadOptions(AttentionOptions, Projections, total=False):
    """What every multi-head attention call takes; None, and what is left out, is the contract's default."""


class GradientOptions(ProblemOptions, Projections, total=False):
    """What every call for gradients takes; None, and what is left out, is the contract's default."""
