"""Plain HTTP for tests, by the standard library: what curl does, without a process for each call."""

import base64
import http.client
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from google.protobuf import json_format
from google.protobuf.message import Message
from serving import SECONDS, ServerProcess

ATTENTION = "/qkv.v1.AttentionService/"
MODELS = "/qkv.v1.ModelService/"
HEALTH = "/grpc.health.v1.Health/Check"
JSON = "application/json"
BINARY = "application/proto"


@dataclass(frozen=True)
class Reply:
    """What came back. `json` is its body read."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        assert self.headers["content-type"] == JSON, self.body
        return json.loads(self.body)


@dataclass(frozen=True)
class Web:
    """A server's address, and requests to it, each on a connection of its own."""

    address: str
    headers: Mapping[str, str] = field(default_factory=dict)

    def request(self, verb: str, path: str, body: bytes | None = None, **headers: str) -> Reply:
        connection = http.client.HTTPConnection(self.address, timeout=SECONDS)
        try:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(verb, path, body, {**self.headers, **named})
            response = connection.getresponse()
            received = {name.lower(): value for name, value in response.getheaders()}
            return Reply(response.status, received, response.read())
        finally:
            connection.close()

    def get(self, path: str, **headers: str) -> Reply:
        return self.request("GET", path, None, **headers)

    def post(self, path: str, body: bytes, content_type: str = JSON, **headers: str) -> Reply:
        return self.request("POST", path, body, content_type=content_type, **headers)

    def ask(self, method: str, question: Message | Mapping[str, Any]) -> Reply:
        """A method of AttentionService, in JSON."""
        fields = json_format.MessageToDict(question) if isinstance(question, Message) else question
        return self.post(ATTENTION + method, json.dumps(fields).encode())


def web_address(server: ServerProcess) -> str:
    """Where a server that was told to says that it serves HTTP."""
    server.wait_for("serving HTTP on ")
    (address,) = re.findall(r"serving HTTP on (\S+)", server.log)
    assert isinstance(address, str)
    return address


def details_of(reply: Reply) -> list[tuple[str, bytes]]:
    """The details of a refusal in JSON, by their type names."""
    return [
        (detail["type"], base64.b64decode(detail["value"] + "=" * (-len(detail["value"]) % 4)))
        for detail in reply.json["details"]
    ]
