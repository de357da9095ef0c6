"""The service of ModelService: request → checks → the model, in a worker or in its engine → response.

Nothing here but `served` needs the packages that models need: without them a server has no models, and says so.
"""

from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import Any

from google.protobuf.message import Message

from qkv.v1 import models_pb2
from qkv.wire import Draft, Received
from qkv_server.service.calls import Method, SharedMethod, StreamMethod
from qkv_server.service.limits import Limits
from qkv_server.service.models.choosing import Models
from qkv_server.service.models.describe import get_model, list_models
from qkv_server.service.models.embed import embed
from qkv_server.service.models.encode import encode
from qkv_server.service.models.generate import generate
from qkv_server.service.models.rewrite import summarize, translate
from qkv_server.service.models.tokens import detokenize, tokenize
from qkv_server.service.pieces import Pieces
from qkv_server.service.workers import Prepared, Turn

Answer = Callable[[Models, Limits, Any, Turn], Draft[Any]]
Share = Callable[[Models, Limits, Any, Turn], Future[Draft[Any]]]
Begin = Callable[[Models, Limits, Any, float, Pieces], None]

TINY: dict[str, Answer] = {"ListModels": list_models, "GetModel": get_model}
UNARY: dict[str, Answer] = {"Tokenize": tokenize, "Detokenize": detokenize, "Encode": encode}
SHARED: dict[str, Share] = {"Embed": embed}
STREAMS: dict[str, Begin] = {"Generate": generate, "Summarize": summarize, "Translate": translate}


@dataclass(frozen=True, slots=True)
class ModelMethods:
    """The methods of ModelService by name: those with one answer, and those that are answered in pieces."""

    unary: Mapping[str, Method | SharedMethod]
    streams: Mapping[str, StreamMethod]


def model_methods(models: Models) -> ModelMethods:
    """The methods of the service over some models."""
    tiny = {name: _unary(name, answer, models, tiny=True) for name, answer in TINY.items()}
    unary = {name: _unary(name, answer, models, tiny=False) for name, answer in UNARY.items()}
    shared = {name: _shared(name, share, models) for name, share in SHARED.items()}
    streams = {name: _stream(name, begin, models) for name, begin in STREAMS.items()}
    return ModelMethods({**tiny, **unary, **shared}, streams)


def _unary(name: str, answer: Answer, models: Models, *, tiny: bool) -> Method:
    def prepare(received: Received[Any], limits: Limits, _arrived: float) -> Prepared:
        return Prepared(partial(answer, models, limits, received.message), tiny)

    return Method(*_messages(name), prepare)


def _shared(name: str, share: Share, models: Models) -> SharedMethod:
    def begin(received: Received[Any], limits: Limits, turn: Turn) -> Future[Draft[Any]]:
        return share(models, limits, received.message, turn)

    return SharedMethod(*_messages(name), begin)


def _stream(name: str, begin: Begin, models: Models) -> StreamMethod:
    def begin_to_answer(received: Received[Any], limits: Limits, arrived: float, pieces: Pieces) -> None:
        begin(models, limits, received.message, arrived, pieces)

    return StreamMethod(*_messages(name), begin_to_answer)


def _messages(name: str) -> tuple[type[Message], type[Message]]:
    """The messages of a method."""
    return getattr(models_pb2, f"{name}Request"), getattr(models_pb2, f"{name}Response")
