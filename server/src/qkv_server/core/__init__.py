"""Exact attention in NumPy. Nothing here knows of the network; this package can be lifted out and used alone.

Call `attention(Problem(query=…))` for an `Answer`; `check` finds every wrong field and measures the sizes.
"""

from qkv_server.core.attention import attention, solve
from qkv_server.core.check import check, check_options
from qkv_server.core.cost import predict, predict_gradients
from qkv_server.core.dimensions import Dimensions
from qkv_server.core.footprint import answer_bytes, gradient_bytes, gradient_working_bytes, merging_bytes, working_bytes
from qkv_server.core.gradients import check_d_output, differentiate, solve_gradients
from qkv_server.core.merging import merge
from qkv_server.core.planner import is_tiny
from qkv_server.core.problem import (
    Alibi,
    Alignment,
    Answer,
    AxisOrder,
    EmptyRow,
    Gradients,
    LogBase,
    MaskPolarity,
    MultiHead,
    PartialResult,
    Path,
    Problem,
    Quantity,
    RelativeBias,
    Rotary,
    RotaryPairing,
    Scoring,
    SoftmaxAxis,
    Visibility,
)
from qkv_server.core.rates import Rates
from qkv_server.core.rotary import rotary_embedding, rotary_tables
from qkv_server.core.rotary_scaling import (
    DynamicNtkScaling,
    LinearScaling,
    Llama3Scaling,
    LongRopeScaling,
    YarnScaling,
)
from qkv_server.core.threads import Cancellation, CancelledError, Later, Spread, one_after_another, spread_over
from qkv_server.core.violations import InvalidProblemError, Violation

__all__ = [
    "Alibi",
    "Alignment",
    "Answer",
    "AxisOrder",
    "Cancellation",
    "CancelledError",
    "Dimensions",
    "DynamicNtkScaling",
    "EmptyRow",
    "Gradients",
    "InvalidProblemError",
    "Later",
    "LinearScaling",
    "Llama3Scaling",
    "LogBase",
    "LongRopeScaling",
    "MaskPolarity",
    "MultiHead",
    "PartialResult",
    "Path",
    "Problem",
    "Quantity",
    "Rates",
    "RelativeBias",
    "Rotary",
    "RotaryPairing",
    "Scoring",
    "SoftmaxAxis",
    "Spread",
    "Violation",
    "Visibility",
    "YarnScaling",
    "answer_bytes",
    "attention",
    "check",
    "check_d_output",
    "check_options",
    "differentiate",
    "gradient_bytes",
    "gradient_working_bytes",
    "is_tiny",
    "merge",
    "merging_bytes",
    "one_after_another",
    "predict",
    "predict_gradients",
    "rotary_embedding",
    "rotary_tables",
    "solve",
    "solve_gradients",
    "spread_over",
    "working_bytes",
]
