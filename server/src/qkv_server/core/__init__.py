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
    MaskPolarity,
    MultiHead,
    Problem,
    Quantity,
    Scoring,
    SoftmaxAxis,
    Visibility,
)
from qkv_server.core.rotary import rotary_embedding, rotary_tables
from qkv_server.core.violations import InvalidProblemError, Violation

__all__ = [
    "Alignment",
    "Answer",
    "AxisOrder",
    "Dimensions",
    "EmptyRow",
    "InvalidProblemError",
    "MaskPolarity",
    "MultiHead",
    "Problem",
    "Quantity",
    "Scoring",
    "SoftmaxAxis",
    "Violation",
    "Visibility",
    "answer_bytes",
    "attention",
    "check",
    "check_options",
    "rotary_embedding",
    "rotary_tables",
    "solve",
    "working_bytes",
]
