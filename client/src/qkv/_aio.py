"""The asyncio client."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

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
from qkv._streams import AsyncTextStream

P = ParamSpec("P")
R = TypeVar("R")


def _method(build: Callable[P, Call[R]]) -> "Callable[Concatenate[AsyncClient, P], Coroutine[Any, Any, R]]":
    async def carry(self: "AsyncClient", /, *args: P.args, **kwargs: P.kwargs) -> R:
        call = build(*args, **kwargs)
        with self._told():
            response = await self._send(call)
        return call.result(response)

    return method_of(build, carry)


def _text_method(build: Callable[P, TextCall]) -> "Callable[Concatenate[AsyncClient, P], AsyncTextStream]":
    def carry(self: "AsyncClient", /, *args: P.args, **kwargs: P.kwargs) -> AsyncTextStream:
        call = build(*args, **kwargs)
        with self._told():
            return AsyncTextStream(self._stream(call), self._told)

    return method_of(build, carry)


class AsyncClient(Connection):
    """A connection for asyncio: `Client` with its calls awaited, and answers in pieces read by `async for`.

    The arguments are those of `Connection`.
    """

    _transport = grpc.aio
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

    async def close(self) -> None:
        """Close the connection: calls under way and later ones raise CancelledError. Closing twice is once."""
        self._closed = True
        await self._channel.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Within it, what gRPC raises is told as an error of this package."""
        try:
            yield
        except grpc.aio.AioRpcError as error:
            raise call_error(error.code(), error.details() or "", error.trailing_metadata()) from None
        except grpc.aio.UsageError:  # which is how gRPC refuses a call on a closed channel
            if self._closed:
                raise client_closed() from None
            raise
        except asyncio.CancelledError:  # of the task, or, when the channel is closed, of the call alone
            task = asyncio.current_task()
            if self._closed and task is not None and not task.cancelling():
                raise client_closed() from None
            raise
