"""The options of an attention call as Python people write them: keyword arguments, strings for named choices."""

from collections.abc import Iterable, Sequence
from typing import Any, Literal, TypedDict

import numpy as np
import numpy.typing as npt

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


class AttentionOptions(TypedDict, total=False):
    """What every attention call takes; None, and what is left out, is the contract's default."""

    mask: npt.ArrayLike | None
    """bool, or floating and added to the scores; broadcast to (B, Hq, L, T), a short last axis padded with hidden."""
    mask_polarity: MaskPolarityName | None
    """What true means in a boolean mask; "true_attends" unless said."""
    causal: bool | None
    """Whether a query is kept from the keys after its own position."""
    alignment: AlignmentName | None
    """Where queries stand among the keys; needed when causality or a window would give two answers."""
    window: tuple[int | None, int | None] | None
    """(left, right): how many keys before and after its own position a query may see; None is all."""
    key_lengths: Sequence[int] | npt.NDArray[np.integer[Any]] | None
    """The number of valid keys of each batch row."""
    query_lengths: Sequence[int] | npt.NDArray[np.integer[Any]] | None
    """The number of valid queries of each batch row."""
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
    past_key: npt.ArrayLike | None
    """The cached keys that come before key: (B, Hkv, P, D)."""
    past_value: npt.ArrayLike | None
    """The cached values that come before value: (B, Hkv, P, Dv)."""
    outputs: Iterable[QuantityName]
    """What to return besides the output."""
    path: PathName | None
    """How the server computes, for comparisons; the fastest unless said."""
    semantics_version: int
    """The version of the semantics to hold the server to; 0 is the newest."""
    timeout: float | None
    """Seconds until DeadlineExceededError; the client's own unless said."""
    wait_for_ready: bool | None
    """Whether to wait for the server to come up; the client's own unless said."""


def named_choice(enum: Any, prefix: str, name: str, option: str) -> Any:
    """The number of an enum value by its name without the prefix; raises ValueError naming the choices."""
    choices = [value.removeprefix(prefix).lower() for value in enum.keys()[1:]]
    if not isinstance(name, str) or name.lower() not in choices:
        raise ValueError(f"{option}: is {name!r}, expected one of {', '.join(map(repr, choices))}")
    return enum.Value(prefix + name.upper())
