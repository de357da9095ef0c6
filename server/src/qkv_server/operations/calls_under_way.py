"""The gRPC calls that are under way, for a server that ends when the last of them has its answer."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any, TypeAlias

import grpc

from qkv_server.service.errors import STOPPING, StoppingError
from qkv_server.transport.status import refuse

LAST_WORDS_SECONDS = 1.0  # for callers to take the answer that their calls are given up

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
        self._tasks: dict[Context, asyncio.Task[Any]] = {}
        self._closed = False
        self._idle = asyncio.Event()
        self._idle.set()

    def close(self) -> None:
        """Refuse further calls, unrun."""
        self._closed = True

    async def ended(self, seconds: float) -> bool:
        """Whether every call ends, its answer handed to its connection, within so many seconds."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._idle.wait(), seconds)
        return self._idle.is_set()

    def give_up(self) -> None:
        """End the calls that have not ended, with the reason."""
        for task in self._tasks.values():
            task.cancel(STOPPING)

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
            task = asyncio.current_task()
            assert task is not None  # noqa: S101 - for mypy: this is a coroutine
            self._tasks[context] = task
            self._idle.clear()
            context.add_done_callback(self._end)  # type: ignore[arg-type]  # the stubs' callback is no protocol
            try:
                return await behaviour(request, context)
            except asyncio.CancelledError as error:
                if error.args != (STOPPING,):
                    raise
                await refuse(StoppingError(), context)

        counted: Handler = handler._replace(**{kind: serve})
        return counted

    def _end(self, context: Context) -> None:
        del self._tasks[context]
        if not self._tasks:
            self._idle.set()


_KINDS = ("unary_unary", "unary_stream", "stream_unary", "stream_stream")


async def _stopping(_: bytes, context: Context) -> bytes:
    await refuse(StoppingError(), context)
