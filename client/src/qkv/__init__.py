"""qkv: attention as a service.

    import qkv

    with qkv.Client("localhost:50051") as client:
        result = client.attention(query, key, value, causal=True, outputs=["weights"])

NumPy arrays go in and come back, their types kept. `AsyncClient` is the same for asyncio, `local()` a client with a
server of its own in this process; `merge()` joins answers over parts of the keys without one. Errors are a tree under
`QkvError`.
"""

from qkv._aio import AsyncClient
from qkv._allocator import tune_allocator
from qkv._channel import TLS
from qkv._client import Client
from qkv._errors import (
    CallError,
    CancelledError,
    DeadlineExceededError,
    InvalidRequestError,
    MalformedOperandError,
    QkvError,
    TooLargeError,
    UnavailableError,
    Violation,
)
from qkv._health import Health
from qkv._local import local
from qkv._merging import PartialResult, merge
from qkv._options import AttentionOptions, GradientOptions, MultiHeadOptions, RelativeBiasOptions
from qkv._results import AttentionResult, GradientResult, MergeResult, Report
from qkv._rotary import RotaryOptions

__all__ = [
    "TLS",
    "AsyncClient",
    "AttentionOptions",
    "AttentionResult",
    "CallError",
    "CancelledError",
    "Client",
    "DeadlineExceededError",
    "GradientOptions",
    "GradientResult",
    "Health",
    "InvalidRequestError",
    "MalformedOperandError",
    "MergeResult",
    "MultiHeadOptions",
    "PartialResult",
    "QkvError",
    "RelativeBiasOptions",
    "Report",
    "RotaryOptions",
    "TooLargeError",
    "UnavailableError",
    "Violation",
    "local",
    "merge",
    "tune_allocator",
]
