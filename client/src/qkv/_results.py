"""What comes back: arrays by name."""

from dataclasses import dataclass
from typing import Any, get_args

import numpy.typing as npt

from qkv import codec
from qkv._options import QuantityName
from qkv.v1.attention_pb2 import AttentionResponse

Array = npt.NDArray[Any]

ARRAYS: tuple[str, ...] = ("output", *get_args(QuantityName))


@dataclass(frozen=True, slots=True)
class Report:
    """How the server made an answer."""

    path: str  # of the core
    queue_seconds: float
    compute_seconds: float


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
    def from_response(cls, response: AttentionResponse) -> "AttentionResult":
        """The result that a response carries."""
        arrays = {name: codec.from_operand(getattr(response, name), name) for name in ARRAYS if response.HasField(name)}
        report = Report(response.report.path, response.report.queue_seconds, response.report.compute_seconds)
        return cls(**arrays, semantics_version=response.semantics_version, report=report)

    def arrays(self) -> dict[str, Array]:
        """The arrays that came back, by name, the output first."""
        return {name: array for name in ARRAYS if (array := getattr(self, name)) is not None}
