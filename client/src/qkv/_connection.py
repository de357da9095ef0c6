"""What the blocking and the asyncio client have in common: a channel, the stubs on it, and the defaults of calls."""

from functools import partial
from typing import Any

from qkv._calls import Call, Method, TextCall
from qkv._channel import TLS, Options, channel_options
from qkv.wire import receive


class Connection:
    """A connection to a qkv server.

    `target` is host:port or unix:/path. `timeout` is the deadline of a call in seconds unless the call says its own
    (None: no deadline); an answer that comes in pieces has none but its own. `wait_for_ready` lets calls wait for a
    server that is not up yet. `retries` repeats a call that was answered UNAVAILABLE, as a server that is stopping,
    overloaded or loading the model answers, up to three times. `options` are gRPC channel arguments.
    """

    _transport: Any  # the module that makes channels: grpc or grpc.aio

    def __init__(
        self,
        target: str = "localhost:50051",
        *,
        tls: TLS | None = None,
        timeout: float | None = 60.0,
        wait_for_ready: bool = False,
        retries: bool = True,
        options: Options | None = None,
    ) -> None:
        arguments = channel_options(target, tls, retries, options)
        if tls is None:
            self._channel = self._transport.insecure_channel(target, arguments)
        else:
            self._channel = self._transport.secure_channel(target, tls.credentials(), arguments)
        self._stubs: dict[Method, Any] = {}
        self._timeout = timeout
        self._wait_for_ready = wait_for_ready
        self.target = target

    def _send(self, call: Call[Any]) -> Any:
        """Start a call: the response of a blocking channel, something to await of an asyncio one."""
        timeout = self._timeout if call.timeout is None else call.timeout
        return self._start(self._channel.unary_unary, call, timeout)

    def _stream(self, call: TextCall) -> Any:
        """Start a call whose answer comes in pieces: their iterator, an asynchronous one of an asyncio channel."""
        return self._start(self._channel.unary_stream, call, call.timeout)

    def _start(self, kind: Any, call: Call[Any] | TextCall, timeout: float | None) -> Any:
        method = call.method
        if method not in self._stubs:
            self._stubs[method] = kind(method.path, response_deserializer=partial(receive, kind=method.response_type))
        return self._stubs[method](
            call.request.encode(),
            timeout=timeout,
            wait_for_ready=self._wait_for_ready if call.wait_for_ready is None else call.wait_for_ready,
        )
