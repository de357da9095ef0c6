"""The command line as a function: what it prints and its exit status, or the request that it would send."""

import io
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from serving import ServerProcess

from qkv._calls import Call
from qkv._connection import Connection
from qkv.cli.main import main
from qkv.v1.attention_pb2 import AttentionRequest


@dataclass(frozen=True)
class Ran:
    """What running the command did."""

    status: int
    out: str
    err: str


Run = Callable[..., Ran]
Asked = Callable[..., AttentionRequest]


@pytest.fixture
def run(server: ServerProcess, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs `qkv` with arguments; its server is the one of the tests."""
    monkeypatch.setenv("QKV_TARGET", server.address)

    def run_main(*arguments: object) -> Ran:
        capsys.readouterr()
        try:
            status = main([str(argument) for argument in arguments])
        except SystemExit as ended:  # argparse ends so
            status = int(ended.code or 0)
        said = capsys.readouterr()
        return Ran(status, said.out, said.err)

    return run_main


@pytest.fixture
def ask(run: Run, model_server: ServerProcess, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs `qkv` with arguments; its server is that of the tiny models."""
    monkeypatch.setenv("QKV_TARGET", model_server.address)
    return run


@pytest.fixture
def asked(run: Run, monkeypatch: pytest.MonkeyPatch) -> Asked:
    """The request that `qkv attend` with arguments makes, which is answered as ever."""
    requests = []
    send = Connection._send

    def record(self: Connection, call: Call[Any]) -> Any:
        requests.append(call.request.message)
        return send(self, call)

    monkeypatch.setattr(Connection, "_send", record)

    def ask(*arguments: object) -> AttentionRequest:
        requests.clear()
        run("attend", *arguments)
        (request,) = requests
        assert isinstance(request, AttentionRequest)
        return request

    return ask


def type_in(text: str | bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a text on standard input, which is no terminal."""
    content = text.encode() if isinstance(text, str) else text
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content), "utf-8", errors="surrogateescape"))


def one_line(ran: Ran) -> str:
    """What an error says: nothing on standard output, one line on standard error, status 1."""
    assert ran.status == 1
    assert ran.out == ""
    (line,) = ran.err.splitlines()
    assert line.startswith("qkv: ")
    return line.removeprefix("qkv: ")
