"""gRPC-Web as browsers speak it: HTTP/1.1, frames in the body, the status in the last of them, and CORS."""

import http.client
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from qkv.v1.attention_pb2 import AttentionRequest, AttentionResponse

PATH = "/qkv.v1.AttentionService/Attend"
TRAILERS = 0x80  # a frame of them, by its first byte


@dataclass(frozen=True, slots=True)
class Answer:
    """The message, if there is one, the trailers, and the headers, names in lower case."""

    response: AttentionResponse | None
    trailers: dict[str, str]
    headers: dict[str, str]


def attend(address: str, request: AttentionRequest, origin: str) -> Answer:
    """Call from a page of an origin."""
    message = request.SerializeToString()
    headers = {"Origin": origin, "Content-Type": "application/grpc-web+proto", "X-Grpc-Web": "1"}
    body, answered = _exchange(address, "POST", struct.pack(">BI", 0, len(message)) + message, headers)
    response, trailers = None, answered  # an error without a message has its status among the headers
    for kind, frame in _frames(body):
        if kind == TRAILERS:
            lines = (line.partition(":") for line in frame.decode().split("\r\n") if line)
            trailers = {name.strip().lower(): value.strip() for name, _, value in lines}
        else:
            response = AttentionResponse.FromString(frame)
    return Answer(response, trailers, answered)


def preflight(address: str, origin: str) -> dict[str, str]:
    """The headers of the answer to what a browser asks before it lets a page of an origin call."""
    asked = "content-type,grpc-timeout,x-grpc-web,x-user-agent"
    headers = {"Origin": origin, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": asked}
    return _exchange(address, "OPTIONS", b"", headers)[1]


def _exchange(address: str, method: str, body: bytes, headers: dict[str, str]) -> tuple[bytes, dict[str, str]]:
    connection = http.client.HTTPConnection(address, timeout=30)
    try:
        connection.request(method, PATH, body, headers)
        response = connection.getresponse()
        return response.read(), {name.lower(): value for name, value in response.getheaders()}
    finally:
        connection.close()


def _frames(body: bytes) -> Iterator[tuple[int, bytes]]:
    while body:
        kind, length = struct.unpack_from(">BI", body)
        yield kind, body[5 : 5 + length]
        body = body[5 + length :]
