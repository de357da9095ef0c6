"""The options of rotary position embedding: dictionaries with the names of the contract's messages."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Required, TypedDict

import numpy.typing as npt

from qkv._fields import set_fields, set_integers, set_lists
from qkv._names import check_entries, named_choice
from qkv.v1 import attention_pb2
from qkv.v1.attention_pb2 import RotaryPairing
from qkv.wire import Draft

RotaryPairingName = Literal["half_split", "interleaved"]


class LinearScaling(TypedDict):
    """Positions divided by a factor."""

    factor: float
    """At least 1."""


class DynamicNtkScaling(TypedDict):
    """A base that grows with the sequence."""

    factor: float
    """At least 1."""
    original_length: int
    """The longest sequence of the training."""


class YarnScaling(TypedDict, total=False):
    """Interpolation by parts, and a temperature."""

    factor: Required[float]
    """At least 1."""
    original_length: Required[int]
    """The longest sequence of the training."""
    beta_fast: float | None
    """Frequencies that turn more often than this within original_length are left; 32 unless said."""
    beta_slow: float | None
    """Frequencies that turn less often than this are divided; 1 unless said."""
    attention_factor: float | None
    """The factor of sines and cosines; 0.1·ln(factor) + 1 unless said."""
    truncate: bool | None
    """Whether the blend begins and ends at whole frequencies; True unless said."""


class LongRopeScaling(TypedDict, total=False):
    """A factor for each frequency."""

    short_factors: Required[Sequence[float]]
    """rotary_size / 2 of them, for sequences of at most original_length."""
    long_factors: Required[Sequence[float]]
    """rotary_size / 2 of them, for longer ones."""
    original_length: Required[int]
    """The longest sequence of the training."""
    factor: float | None
    """The longest sequence that is served over original_length; 1 unless said."""
    attention_factor: float | None
    """The factor of sines and cosines; √(1 + ln(factor) / ln(original_length)) unless said."""


class Llama3Scaling(TypedDict):
    """Interpolation of the low frequencies."""

    factor: float
    """At least 1."""
    low_frequency_factor: float
    """Above 0."""
    high_frequency_factor: float
    """Above low_frequency_factor."""
    original_length: int
    """The longest sequence of the training."""


class RotaryOptions(TypedDict, total=False):
    """Rotary position embedding; what is left out is the contract's default. At most one scaling."""

    base: float | None
    """The base of the frequencies; 10000 unless said."""
    rotary_size: int | None
    """How many features of each head are turned, the first ones; all unless said."""
    pairing: RotaryPairingName | None
    """Which features turn together; "half_split" unless said."""
    query_positions: npt.ArrayLike | None
    """Integers (L) or (B, L); where the alignment says unless said."""
    key_positions: npt.ArrayLike | None
    """Integers (S) or (B, S); after the cache unless said."""
    sequence_length: int | None
    """The length that dynamic_ntk and longrope look at; the largest position plus 1 unless said."""
    linear: LinearScaling | None
    dynamic_ntk: DynamicNtkScaling | None
    yarn: YarnScaling | None
    longrope: LongRopeScaling | None
    llama3: Llama3Scaling | None


SCALINGS: dict[str, Any] = {
    "linear": LinearScaling,
    "dynamic_ntk": DynamicNtkScaling,
    "yarn": YarnScaling,
    "longrope": LongRopeScaling,
    "llama3": Llama3Scaling,
}
LISTS = ("short_factors", "long_factors")


def set_rotary(draft: Draft[attention_pb2.Rotary], options: RotaryOptions) -> None:
    """Fill the message; raises TypeError for a name that it does not have, ValueError for two scalings."""
    check_entries(options, RotaryOptions.__annotations__, "rotary")
    message = draft.message
    message.SetInParent()
    set_fields(message, {name: options.get(name) for name in ("base", "rotary_size", "sequence_length")}, "rotary.")
    if (pairing := options.get("pairing")) is not None:
        message.pairing = named_choice(RotaryPairing, "ROTARY_PAIRING_", pairing, "rotary.pairing")
    positions = {name: options.get(name) for name in ("query_positions", "key_positions")}
    set_integers(draft, positions, "rotary.")
    scalings: dict[str, Any] = {name: options.get(name) for name in SCALINGS if options.get(name) is not None}
    if len(scalings) > 1:
        raise ValueError(f"rotary: has {' and '.join(scalings)}, expected at most one scaling")
    for kind, numbers in scalings.items():
        _set_scaling(getattr(message, kind), kind, numbers)


def _set_scaling(message: Any, kind: str, numbers: Mapping[str, Any]) -> None:
    known = SCALINGS[kind].__annotations__
    check_entries(numbers, known, f"rotary.{kind}")
    message.SetInParent()
    set_fields(message, {name: numbers.get(name) for name in known if name not in LISTS}, f"rotary.{kind}.")
    set_lists(message, numbers, (name for name in known if name in LISTS), f"rotary.{kind}.")
