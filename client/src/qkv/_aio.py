"""The asyncio client."""

from collections.abc import Callable, Coroutine
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

import grpc

from qkv import _attention, _differentiate, _health, _merge
from qkv._calls import Call
from qkv._connection import Connection
from qkv._signature import method_of
from qkv._status import call_error

P = ParamSpec("P")
R = TypeVar("R")


def _method(build: Callable[P, Call[R]]) -> "Callable[Concatenate[AsyncClient, P], Coroutine[Any, Any, R]]":
    async def carry(self: "AsyncClient", /, *args: P.args, **kwargs: P.kwargs) -> R:
        call = build(*args, **kwargs)
        try:
            response = await self._send(call)
        except grpc.aio.AioRpcError as error:
            raise call_error(error.code(), error.details() or "", error.trailing_metadata()) from None
        return call.result(response)

    return method_of(build, carry)


class AsyncClient(Connection):
    """A connection for asyncio: `Client` with its calls awaited.

    The arguments are those of `Connection`.
    """

    _transport = grpc.aio

    attention = _method(_attention.attention)
    multi_head_attention = _method(_attention.multi_head_attention)
    differentiate = _method(_differentiate.differentiate)
    merge = _method(_merge.merge)
    health = _method(_health.health)

    async def close(self) -> None:
        """Close the connection; calls under way are cancelled. Closing twice is once."""
        await self._channel.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
