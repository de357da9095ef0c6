"""Methods of services over HTTP/1.1, by the Connect protocol (JSON by curl is a part of it) and gRPC-Web.

connectrpc speaks the protocols. It leaves messages as bytes to the service: what it would parse or decompress, it would
on the event loop, where a large message keeps every other call waiting. Answers are not compressed.
"""

import asyncio
import zlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing, contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

from connectrpc.code import Code
from connectrpc.codec import Codec
from connectrpc.compression import Compression
from connectrpc.errors import ConnectError, ErrorDetail
from connectrpc.method import IdempotencyLevel, MethodInfo, StreamType
from connectrpc.request import RequestContext
from connectrpc.server import ConnectASGIApplication, Endpoint
from google.protobuf.descriptor_pb2 import DescriptorProto
from google.protobuf.descriptor_pb2 import FileDescriptorSet as GoogleFileDescriptorSet
from google.protobuf.duration_pb2 import DESCRIPTOR as DURATION
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import DESCRIPTOR as ERROR_DETAILS
from protobuf.wkt import Any as Packed
from protobuf.wkt import FileDescriptorSet
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from qkv.wire import Received
from qkv_server.service.errors import STOPPING, ServiceError, StoppingError, TooLargeError
from qkv_server.transport.forms import BINARY, JSON, Form, refusal
from qkv_server.transport.lines import answer_in_lines
from qkv_server.transport.status import status_of

MOST_INFLATED = 1032  # bytes that one byte of deflate can stand for
ONE_JSON = "application/json"  # a message; the answer in pieces is lines of them
GRPC_WEB = ("application/grpc-web", "application/grpc-web+proto", "application/grpc-web+json")
OF_UNARY = (ONE_JSON, "application/proto", *GRPC_WEB)  # content types of requests
OF_STREAMS = (ONE_JSON, "application/connect+json", "application/connect+proto", *GRPC_WEB)
ASKS_FOR_COMPRESSION = {b"accept-encoding", b"connect-accept-encoding", b"grpc-accept-encoding"}


@dataclass(frozen=True, slots=True)
class Payload:
    """A request that was not read yet. `size` is what it may have in bytes when it is."""

    data: bytes
    form: Form
    limit: int
    gzipped: bool

    @property
    def size(self) -> int:
        """Of what is compressed, the most that it can be."""
        return len(self.data) * MOST_INFLATED if self.gzipped else len(self.data)

    def read(self, kind: type[Message]) -> Received[Message]:
        """The request; raises ServiceError if it is none, or larger than the limit."""
        return self.form.read(_inflated(self.data, self.limit) if self.gzipped else self.data, kind)


Answer: TypeAlias = Callable[[Payload], Awaitable[bytes]]  # raises ServiceError for a refusal


@dataclass(frozen=True, slots=True)
class Stream:
    """A method that is answered in pieces, by a function that raises ServiceError for a refusal."""

    answer: Callable[[Payload], AsyncGenerator[bytes, None]]


Services: TypeAlias = Mapping[str, Mapping[str, Answer | Stream]]  # by the names of service and method


class ConnectApplication(ConnectASGIApplication[Services]):
    """The ASGI application that answers the methods of services."""

    path = ""

    def __init__(self, services: Services, message_bytes: int) -> None:
        self._message_bytes = message_bytes
        self._content_types = {
            f"/{service}/{name}": OF_STREAMS if isinstance(answer, Stream) else OF_UNARY
            for service, methods in services.items()
            for name, answer in methods.items()
        }
        super().__init__(
            service=services,
            endpoints=_endpoints,
            read_max_bytes=message_bytes,
            compressions=[_Gzip()],
            codecs=[_Verbatim(BINARY, message_bytes), _Verbatim(JSON, message_bytes)],
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request; one that connectrpc would take for a defect of the server is refused first."""
        headers = [
            (name, value) for name, value in scope["headers"] if value.isascii() and name not in ASKS_FOR_COMPRESSION
        ]
        scope = {**scope, "headers": headers}
        content_type = dict(headers).get(b"content-type", b"").partition(b";")[0].strip().lower().decode()
        taken = self._content_types.get(scope["path"]) if scope["method"] == "POST" else None
        try:
            if content_type.partition("+")[0] == "application/grpc":  # needs the trailers of HTTP/2
                await _unsupported("gRPC itself is served on another port", taken)(scope, receive, send)
            elif taken is not None and content_type not in taken:
                sentence = f"content-type is {content_type!r}, expected one of {', '.join(taken)}"
                await _unsupported(sentence, taken)(scope, receive, send)
            elif taken is OF_STREAMS and content_type == ONE_JSON:
                await answer_in_lines(super().__call__, self._message_bytes, scope, receive, send)
            else:
                await super().__call__(scope, receive, send)
        except asyncio.CancelledError as error:
            if error.args != (STOPPING,):
                raise


def _unsupported(sentence: str, taken: Sequence[str] | None) -> PlainTextResponse:
    """The answer to a request of another content type, with those that the method takes if there is one."""
    headers = {"accept-post": ", ".join(taken)} if taken is not None else None
    return PlainTextResponse(f"{sentence}\n", status_code=415, headers=headers)


class _Gzip(Compression):
    """What comes is decompressed when it is read, and nothing goes."""

    def name(self) -> str:
        return "gzip"

    def compress(self, data: bytes | bytearray | memoryview) -> bytes:
        raise NotImplementedError  # the headers that ask for it are taken away (ASKS_FOR_COMPRESSION)

    def decompress(self, data: bytes | bytearray | memoryview, read_max_bytes: int | None = None) -> bytes:  # noqa: ARG002 - connectrpc's
        return _Gzipped(data)


class _Gzipped(bytes):
    """Still compressed."""


class _Verbatim(Codec[bytes, Any]):
    """Of a form, but messages stay bytes."""

    def __init__(self, form: Form, limit: int) -> None:
        self._form = form
        self._limit = limit

    def name(self) -> str:
        return self._form.name

    def encode(self, message: bytes) -> bytes:
        return message

    def decode(self, data: bytes | bytearray, message_class: type[Any]) -> Any:  # noqa: ARG002 - connectrpc's
        return Payload(bytes(data), self._form, self._limit, isinstance(data, _Gzipped))


def _inflated(data: bytes, limit: int) -> bytes:
    decompressor = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)  # with the header of gzip
    try:
        inflated = decompressor.decompress(data, limit + 1)
    except zlib.error as error:
        raise refusal(f"these {len(data)} bytes are no gzip: {error}") from None
    if len(inflated) > limit:
        raise TooLargeError("the request, decompressed,", len(inflated), limit)
    if not decompressor.eof:
        raise refusal(f"these {len(data)} bytes are no gzip: the end is missing")
    return inflated


def _endpoints(services: Services) -> dict[str, Any]:
    return dict(_each_endpoint(services))


def _each_endpoint(services: Services) -> Iterator[tuple[str, Any]]:
    for service, methods in services.items():
        for name, answer in methods.items():
            method = MethodInfo(
                name=name,
                service_name=service,
                input=Payload,
                output=bytes,
                idempotency_level=IdempotencyLevel.UNKNOWN,
                stream_type=StreamType.SERVER_STREAM if isinstance(answer, Stream) else StreamType.UNARY,
            )
            path = f"/{service}/{name}"
            if isinstance(answer, Stream):
                yield path, Endpoint.server_stream(method, _streamed(answer))
            else:
                yield path, Endpoint.unary(method, _served(answer))


def _served(answer: Answer) -> Callable[[Payload, RequestContext[Payload, bytes]], Awaitable[bytes]]:
    async def serve(payload: Payload, _: RequestContext[Payload, bytes]) -> bytes:
        with _told():
            return await answer(payload)

    return serve


def _streamed(stream: Stream) -> Callable[[Payload, RequestContext[Payload, bytes]], AsyncIterator[bytes]]:
    async def serve(payload: Payload, _: RequestContext[Payload, bytes]) -> AsyncIterator[bytes]:
        with _told():
            async with aclosing(stream.answer(payload)) as pieces:
                async for piece in pieces:
                    yield piece

    return serve


@contextmanager
def _told() -> Iterator[None]:
    """Within it, a refusal and the end of the server are told as connectrpc tells errors."""
    try:
        yield
    except ServiceError as error:
        raise _refused(error) from None
    except asyncio.CancelledError as error:
        if error.args != (STOPPING,):
            raise
        raise _refused(StoppingError()) from None


def _refused(error: ServiceError) -> ConnectError:
    code, status = status_of(error)
    return ConnectError(Code[code.name], status.message, map(_detail, status.details))


def _detail(packed: Any) -> ErrorDetail:
    """A detail as connectrpc takes it; unpacked, so that answers in JSON show it in words too."""
    detail = Packed(type_url=packed.type_url, value=packed.value)
    kind = DETAILS.message(packed.type_url.rpartition("/")[2])
    return ErrorDetail(detail if kind is None else detail.unpack(kind) or detail)


def _described(*described: Any) -> Any:
    """Files of google.protobuf as connectrpc's protobuf knows them."""
    found = GoogleFileDescriptorSet()
    for file in described:
        file.CopyToProto(found.file.add())
        _set_json_names(found.file[-1].message_type)
    return FileDescriptorSet.from_binary(found.SerializeToString()).to_registry()


def _set_json_names(messages: Iterable[DescriptorProto]) -> None:
    """Say what fields are called in JSON, which google.protobuf works out and does not keep."""
    for message in messages:
        for field in message.field:
            first, *others = field.name.split("_")
            field.json_name = first + "".join(map(str.capitalize, others))
        _set_json_names(message.nested_type)


DETAILS = _described(DURATION, ERROR_DETAILS)
