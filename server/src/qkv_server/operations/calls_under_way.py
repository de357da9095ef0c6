"""The gRPC calls that are under way, for a server that ends when the last of them has its answer."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeAlias

import grpc

from qkv_server.service.errors import StoppingError
from qkv_server.transport.status import refuse

Context = grpc.aio.ServicerContext[bytes, bytes]
Handler: TypeAlias = "grpc.RpcMethodHandler[bytes, bytes]"
Behaviour: TypeAlias = Callable[[Any, Context], Awaitable[Any]]


class CallsUnderWay(grpc.GenericRpcHandler):
    """Hands calls to other handlers, all of whose methods are coroutines, and knows those that have not ended.

    A server must not be told to stop before: gRPC sends a farewell, and when it is acknowledged and no call is left,
    it closes the connection. Had a call outlasted that acknowledgement, its answer may still be on its way out then,
    and the kernel drops it if the client says anything at that moment, as a window update. After the last call, the
    acknowledgement says that all answers have arrived.
    """

    def __init__(self, handlers: Sequence[grpc.GenericRpcHandler]) -> None:
        self._handlers = handlers
        self._count = 0
        self._closed = False
        self._idle = asyncio.Event()
        self._idle.set()

    def close(self) -> None:
        """Refuse further calls, unrun."""
        self._closed = True

    async def ended(self, seconds: float) -> None:
        """Wait until every call has ended, its answer handed to its connection, or for so many seconds."""
        try:
            await asyncio.wait_for(self._idle.wait(), seconds)
        except TimeoutError:
            return

    def service(self, details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[bytes, bytes] | None":
        """The handler of a call; None for methods that nobody has."""
        if self._closed:
            return grpc.unary_unary_rpc_method_handler(_stopping)
        handler = next(filter(None, (each.service(details) for each in self._handlers)), None)
        return None if handler is None else self._counted(handler)

    def _counted(self, handler: Any) -> Handler:
        (kind,) = (name for name in _KINDS if getattr(handler, name) is not None)
        behaviour: Behaviour = getattr(handler, kind)

        async def serve(request: Any, context: Context) -> Any:
            self._count += 1
            self._idle.clear()
            context.add_done_callback(self._end)  # type: ignore[arg-type]  # the stubs' callback is no protocol
            return await behaviour(request, context)

        counted: Handler = handler._replace(**{kind: serve})
        return counted

    def _end(self, _: Context) -> None:
        self._count -= 1
        if not self._count:
            self._idle.set()


_KINDS = ("unary_unary", "unary_stream", "stream_unary", "stream_stream")


async def _stopping(_: bytes, context: Context) -> bytes:
    await refuse(StoppingError(), context)
