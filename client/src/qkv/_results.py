"""What comes back: arrays by name."""

from dataclasses import dataclass
from typing import Any, get_args

import numpy.typing as npt
from google.protobuf.message import Message

from qkv import codec
from qkv._options import QuantityName
from qkv.v1 import attention_pb2
from qkv.v1.attention_pb2 import AttentionResponse, DifferentiateResponse, MergeResponse
from qkv.wire import Received, data_of

Array = npt.NDArray[Any]

ARRAYS: tuple[str, ...] = ("output", *get_args(QuantityName))
GRADIENTS = ("d_query", "d_key", "d_value", "d_mask", "d_sinks")


@dataclass(frozen=True, slots=True)
class Report:
    """How the server made an answer."""

    path: str  # of the core
    queue_seconds: float
    compute_seconds: float

    @classmethod
    def from_message(cls, message: attention_pb2.Report) -> "Report":
        """The report that a response carries."""
        return cls(message.path, message.queue_seconds, message.compute_seconds)


@dataclass(frozen=True, eq=False, slots=True, kw_only=True)
class AttentionResult:
    """The output and the quantities asked for; the others are None. Arrays are read-only views of the response."""

    output: Array
    scores: Array | None = None
    capped_scores: Array | None = None
    masked_scores: Array | None = None
    weights: Array | None = None
    averaged_weights: Array | None = None
    log_sum_exp: Array | None = None
    present_key: Array | None = None
    present_value: Array | None = None
    semantics_version: int
    report: Report

    @classmethod
    def from_response(cls, response: Received[AttentionResponse]) -> "AttentionResult":
        """The result that a response carries."""
        report = Report.from_message(response.message.report)
        return cls(**_arrays(response, ARRAYS), semantics_version=response.message.semantics_version, report=report)

    def arrays(self) -> dict[str, Array]:
        """The arrays that came back, by name, the output first."""
        return {name: array for name in ARRAYS if (array := getattr(self, name)) is not None}


@dataclass(frozen=True, eq=False, slots=True, kw_only=True)
class GradientResult:
    """The gradients, each shaped and typed as its operand; None for what was not given, or a mask that is not added."""

    d_query: Array
    d_key: Array | None = None
    d_value: Array | None = None
    d_mask: Array | None = None
    d_sinks: Array | None = None
    semantics_version: int
    report: Report

    @classmethod
    def from_response(cls, response: Received[DifferentiateResponse]) -> "GradientResult":
        """The result that a response carries."""
        report = Report.from_message(response.message.report)
        return cls(**_arrays(response, GRADIENTS), semantics_version=response.message.semantics_version, report=report)

    def arrays(self) -> dict[str, Array]:
        """The arrays that came back, by name."""
        return {name: array for name in GRADIENTS if (array := getattr(self, name)) is not None}


@dataclass(frozen=True, eq=False, slots=True, kw_only=True)
class MergeResult:
    """The answer over all the keys of several parts, and itself a part: its output and log-sum-exp."""

    output: Array
    log_sum_exp: Array
    semantics_version: int

    @classmethod
    def from_response(cls, response: Received[MergeResponse]) -> "MergeResult":
        """The result that a response carries."""
        arrays = _arrays(response, ("output", "log_sum_exp"))
        return cls(**arrays, semantics_version=response.message.semantics_version)


def _arrays(response: Received[Message], names: tuple[str, ...]) -> dict[str, Array]:
    """The arrays of those operand fields that are set."""
    message = response.message
    return {
        name: codec.from_operand(getattr(message, name), name, response.apart.get(data_of(name)))
        for name in names
        if message.HasField(name)
    }
