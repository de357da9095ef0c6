"""Exact attention in NumPy. Nothing here knows of the network; this package can be lifted out and used alone.

Call `attention(Problem(query=…))` for an `Answer`; `check` finds every wrong field and measures the sizes.
"""

from qkv_server.core.attention import attention, solve
from qkv_server.core.check import check, check_options
from qkv_server.core.dimensions import Dimensions
from qkv_server.core.footprint import answer_bytes, working_bytes
from qkv_server.core.problem import (
    Alignment,
    Answer,
    AxisOrder,
    EmptyRow,
    LogBase,
    MaskPolarity,
    MultiHead,
    Path,
    Problem,
    Quantity,
    Scoring,
    SoftmaxAxis,
    Visibility,
)
from qkv_server.core.rotary import rotary_embedding, rotary_tables
from qkv_server.core.threads import Cancellation, CancelledError, Spread, one_after_another, spread_over
from qkv_server.core.violations import InvalidProblemError, Violation

__all__ = [
    "Alignment",
    "Answer",
    "AxisOrder",
    "Cancellation",
    "CancelledError",
    "Dimensions",
    "EmptyRow",
    "InvalidProblemError",
    "LogBase",
    "MaskPolarity",
    "MultiHead",
    "Path",
    "Problem",
    "Quantity",
    "Scoring",
    "SoftmaxAxis",
    "Spread",
    "Violation",
    "Visibility",
    "answer_bytes",
    "attention",
    "check",
    "check_options",
    "one_after_another",
    "rotary_embedding",
    "rotary_tables",
    "solve",
    "spread_over",
    "working_bytes",
]
