"""qkv: attention as a service.

    import qkv

    with qkv.Client("localhost:50051") as client:
        result = client.attention(query, key, value, causal=True, outputs=["weights"])

    for piece in client.generate("Once upon a time"):
        print(piece, end="")

NumPy arrays go in and come back, their types kept. The models of a server are asked by `embed`, `encode`, `generate`,
`chat`, `summarize` and `translate`, by name or, where there is one alone, without. `AsyncClient` is the same for
asyncio, `local()` a client with a server of its own in this process; `merge()` joins answers over parts of the keys
without one. Errors are a tree under `QkvError`.
"""

from qkv._aio import AsyncClient
from qkv._allocator import tune_allocator
from qkv._channel import TLS
from qkv._client import Client
from qkv._errors import (
    CallError,
    CancelledError,
    DeadlineExceededError,
    FailedPreconditionError,
    InvalidRequestError,
    MalformedOperandError,
    NotFoundError,
    QkvError,
    TooLargeError,
    UnavailableError,
    UnfinishedError,
    Violation,
)
from qkv._generate import ChatMessage
from qkv._health import Health
from qkv._local import local
from qkv._merge_here import PartialResult, merge
from qkv._model_results import EmbeddingResult, EncodeResult, Model, Token, TokenLabel
from qkv._options import AttentionOptions, GradientOptions, MultiHeadOptions, RelativeBiasOptions
from qkv._results import AttentionResult, GradientResult, MergeResult, Report
from qkv._rotary import RotaryOptions
from qkv._streams import AsyncTextStream, TextStream
from qkv._text_options import GenerateOptions, SamplingOptions, SummarizeOptions, TranslateOptions
from qkv._texts import GeneratedToken, TextResult, TokenProbability, Usage

__all__ = [
    "TLS",
    "AsyncClient",
    "AsyncTextStream",
    "AttentionOptions",
    "AttentionResult",
    "CallError",
    "CancelledError",
    "ChatMessage",
    "Client",
    "DeadlineExceededError",
    "EmbeddingResult",
    "EncodeResult",
    "FailedPreconditionError",
    "GenerateOptions",
    "GeneratedToken",
    "GradientOptions",
    "GradientResult",
    "Health",
    "InvalidRequestError",
    "MalformedOperandError",
    "MergeResult",
    "Model",
    "MultiHeadOptions",
    "NotFoundError",
    "PartialResult",
    "QkvError",
    "RelativeBiasOptions",
    "Report",
    "RotaryOptions",
    "SamplingOptions",
    "SummarizeOptions",
    "TextResult",
    "TextStream",
    "Token",
    "TokenLabel",
    "TokenProbability",
    "TooLargeError",
    "TranslateOptions",
    "UnavailableError",
    "UnfinishedError",
    "Usage",
    "Violation",
    "local",
    "merge",
    "tune_allocator",
]
