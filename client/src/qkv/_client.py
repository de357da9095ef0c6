"""The blocking client."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Concatenate, ParamSpec, Self, TypeVar

import grpc

from qkv import (
    _attention,
    _differentiate,
    _embed,
    _encode,
    _generate,
    _health,
    _merge,
    _models,
    _rewrite,
    _tokenize,
)
from qkv._calls import Call, TextCall
from qkv._connection import Connection
from qkv._errors import client_closed
from qkv._signature import method_of
from qkv._status import call_error
from qkv._streams import TextStream

P = ParamSpec("P")
R = TypeVar("R")


def _method(build: Callable[P, Call[R]]) -> "Callable[Concatenate[Client, P], R]":
    def carry(self: "Client", /, *args: P.args, **kwargs: P.kwargs) -> R:
        call = build(*args, **kwargs)
        with self._told():
            response = self._send(call)
        return call.result(response)

    return method_of(build, carry)


def _text_method(build: Callable[P, TextCall]) -> "Callable[Concatenate[Client, P], TextStream]":
    def carry(self: "Client", /, *args: P.args, **kwargs: P.kwargs) -> TextStream:
        call = build(*args, **kwargs)
        with self._told():
            return TextStream(self._stream(call), self._told)

    return method_of(build, carry)


class Client(Connection):
    """A connection for threads; several may share it. Use it as a context manager, or close it.

        with Client("localhost:50051") as client:
            client.attention([[1.0, 0.0], [0.0, 1.0]]).output

    The arguments are those of `Connection`.
    """

    _transport = grpc
    _closed = False

    attention = _method(_attention.attention)
    multi_head_attention = _method(_attention.multi_head_attention)
    differentiate = _method(_differentiate.differentiate)
    merge = _method(_merge.merge)
    health = _method(_health.health)

    models = _method(_models.models)
    model = _method(_models.model)
    tokenize = _method(_tokenize.tokenize)
    detokenize = _method(_tokenize.detokenize)
    embed = _method(_embed.embed)
    embed_result = _method(_embed.embed_result)
    encode = _method(_encode.encode)
    generate = _text_method(_generate.generate)
    chat = _text_method(_generate.chat)
    summarize = _text_method(_rewrite.summarize)
    translate = _text_method(_rewrite.translate)

    def close(self) -> None:
        """Close the connection: calls under way and later ones raise CancelledError. Closing twice is once."""
        self._closed = True
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Within it, what gRPC raises is told as an error of this package."""
        try:
            yield
        except grpc.RpcError as error:  # which is also the finished call, with its code and trailers
            raise call_error(error.code(), error.details() or "", error.trailing_metadata()) from None
        except ValueError:  # which is how gRPC refuses a call on a closed channel
            if self._closed:
                raise client_closed() from None
            raise
