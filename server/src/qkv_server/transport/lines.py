"""Answers in pieces as lines of JSON, for curl and for programs that know nothing of the Connect protocol.

That protocol puts the messages of a stream into frames. A request of plain JSON is put into one here, and of the answer
each message is a line. What refuses a request at once is answered as by a method with one answer: with its HTTP status,
and the error as the body. What goes wrong later is the last line, `{"error": …}`.
"""

import json
import struct
from dataclasses import dataclass

from starlette.types import ASGIApp, Message, Receive, Scope, Send

JSON = b"application/json"
LINES = b"application/x-ndjson"
FRAMES = b"application/connect+json"
HEADER = struct.Struct(">BI")  # of a frame: flags, and how many bytes follow
COMPRESSED, END = 0b01, 0b10
OK, DEFECT = 200, 500
STATUSES = {  # of HTTP, for the codes of the protocol that are no defect of the server
    "canceled": 499,
    "deadline_exceeded": 504,
    "failed_precondition": 400,
    "invalid_argument": 400,
    "not_found": 404,
    "resource_exhausted": 429,
    "unavailable": 503,
    "unimplemented": 501,
}


async def answer_in_lines(application: ASGIApp, most_bytes: int, scope: Scope, receive: Receive, send: Send) -> None:
    """Let an application that knows the protocol answer a request of plain JSON, of at most so many bytes."""
    headers = dict(scope["headers"])
    headers[b"content-type"] = FRAMES
    compression = headers.pop(b"content-encoding", b"identity")
    headers[b"connect-content-encoding"] = compression
    flags = 0 if compression == b"identity" else COMPRESSED
    framed = {**scope, "headers": list(headers.items())}
    await application(framed, _FramedBody(receive, flags, most_bytes), _Lines(send))


@dataclass(slots=True)
class _FramedBody:
    """Receives the body of a request as one frame; one of too many bytes is cut, and has still too many."""

    receive: Receive
    flags: int
    most_bytes: int
    is_read: bool = False

    async def __call__(self) -> Message:
        if self.is_read:
            return await self.receive()
        body, more = bytearray(), True
        while more and len(body) <= self.most_bytes:
            event = await self.receive()
            if event["type"] != "http.request":
                return event
            body += event.get("body", b"")
            more = event.get("more_body", False)
        self.is_read = True
        return {"type": "http.request", "body": HEADER.pack(self.flags, len(body)) + body, "more_body": False}


@dataclass(slots=True)
class _Lines:
    """Sends an answer in frames, of which each event has one, as lines; what is no such answer as it is."""

    send: Send
    is_framed: bool = False
    is_begun: bool = False

    async def __call__(self, event: Message) -> None:
        if event["type"] == "http.response.start" and event["status"] == OK:
            self.is_framed = True  # with what status it begins, the first frame says
        elif self.is_framed:
            await self._send_frame(event["body"])
        else:
            await self.send(event)

    async def _send_frame(self, frame: bytes) -> None:
        (flags, _), line = HEADER.unpack_from(frame), frame[HEADER.size :]
        ended = bool(flags & END)
        error = json.loads(line).get("error") if ended else None
        if error is not None and not self.is_begun:
            await self._begin(STATUSES.get(error["code"], DEFECT), JSON)
            await self._send_body(json.dumps(error, ensure_ascii=False).encode(), more=False)
            return
        if not self.is_begun:
            await self._begin(OK, LINES)
        await self._send_body(b"" if ended and error is None else line + b"\n", more=not ended)

    async def _begin(self, status: int, content_type: bytes) -> None:
        self.is_begun = True
        await self.send({"type": "http.response.start", "status": status, "headers": [(b"content-type", content_type)]})

    async def _send_body(self, body: bytes, *, more: bool) -> None:
        await self.send({"type": "http.response.body", "body": body, "more_body": more})
