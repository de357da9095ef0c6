"""What goes wrong with us is told by a number, or by its name, and never by a stack trace."""

import asyncio
import logging
import re
from collections.abc import Callable
from functools import partial
from typing import Any

import grpc
import pytest

import qkv
from qkv.v1.attention_pb2 import AttentionRequest, AttentionResponse
from qkv_server import core
from qkv_server.service.calls import METHODS, Calls
from qkv_server.service.limits import Limits
from qkv_server.service.workers import Workers
from qkv_server.transport.attention import attention_handler

ATTEND = "/qkv.v1.AttentionService/Attend"
MATRIX = {"rows": 1, "columns": 2, "values": [1.0, 2.0]}


def failing(error: BaseException) -> Callable[..., Any]:
    def fail(*_: object, **__: object) -> Any:
        raise error

    return fail


def served(call: Callable[[str], Any]) -> Any:
    """What a call from a thread, given an address, gets from an asyncio server in this process with the handler."""

    async def scenario() -> Any:
        workers = Workers(threads=1, queue=1)
        server = grpc.aio.server()
        server.add_generic_rpc_handlers((attention_handler(Calls(workers, Limits())),))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        try:
            return await asyncio.to_thread(call, f"127.0.0.1:{port}")
        finally:
            await server.stop(0)
            workers.close()

    return asyncio.run(scenario())


ASK: dict[str, Callable[[qkv.Client], object]] = {  # by what computes it
    "solve": lambda client: client.attention([[1.0, 2.0]]),
    "merge": lambda client: client.merge([([[1.0, 2.0]], [0.0])]),
    "solve_gradients": lambda client: client.differentiate([[1.0, 2.0]], [[1.0, 2.0]]),
}


def refusal(address: str, ask: Callable[[qkv.Client], object] = ASK["solve"]) -> qkv.CallError:
    with qkv.Client(address, retries=False) as client, pytest.raises(qkv.CallError) as refused:
        ask(client)
    return refused.value


def raw_call(address: str, payload: bytes) -> bytes:
    with grpc.insecure_channel(address) as channel:
        attend: Any = channel.unary_unary(ATTEND)
        answer: bytes = attend(payload)
        return answer


def raw_refusal(payload: bytes) -> Callable[[str], grpc.RpcError]:
    def call(address: str) -> grpc.RpcError:
        with pytest.raises(grpc.RpcError) as refused:
            raw_call(address, payload)
        return refused.value

    return call


def test_an_unexpected_error_is_a_number_in_the_log(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The caller hears INTERNAL and an incident; under its number the log has the error and where it came from."""
    monkeypatch.setitem(METHODS, "Attend", METHODS["Attend"]._replace(prepare=failing(RuntimeError("secret"))))
    with caplog.at_level(logging.ERROR):
        error = served(refusal)
    assert error.code is grpc.StatusCode.INTERNAL
    assert type(error) is qkv.CallError
    match = re.fullmatch(r"internal error, incident ([0-9a-f]{12})", str(error))
    assert match is not None
    (record,) = [record for record in caplog.records if match[1] in record.getMessage()]
    assert record.exc_info is not None
    assert repr(record.exc_info[1]) == "RuntimeError('secret')"
    assert "Traceback" in caplog.text


def test_nothing_of_an_unexpected_error_leaks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the message nor any trailer of the answer has a word of the error."""
    monkeypatch.setitem(METHODS, "Attend", METHODS["Attend"]._replace(prepare=failing(RuntimeError("secret"))))
    error: Any = served(raw_refusal(b""))
    told = f"{error.details()} {error.debug_error_string()} {error.trailing_metadata()}"
    assert "incident" in told
    assert "secret" not in told
    assert "RuntimeError" not in told


def test_each_incident_has_a_number_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two failures are two incidents."""
    monkeypatch.setitem(METHODS, "Attend", METHODS["Attend"]._replace(prepare=failing(RuntimeError("secret"))))
    assert str(served(refusal)) != str(served(refusal))


@pytest.mark.parametrize("name", ["read", "write"])
def test_running_out_of_memory_around_the_arithmetic(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A MemoryError of decoding or of encoding is RESOURCE_EXHAUSTED, OUT_OF_MEMORY, and no incident."""
    monkeypatch.setattr(f"qkv_server.service.attend.{name}", failing(MemoryError()))
    assert_out_of_memory(served(refusal))


def test_running_out_of_memory_in_the_arithmetic(monkeypatch: pytest.MonkeyPatch) -> None:
    """A MemoryError of the core is RESOURCE_EXHAUSTED, OUT_OF_MEMORY, and no incident."""
    monkeypatch.setattr(core, "solve", failing(MemoryError()))
    assert_out_of_memory(served(refusal))


@pytest.mark.parametrize("name", ["merge", "solve_gradients"])
def test_running_out_of_memory_in_the_other_methods(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """So is one of merging, and of the gradients."""
    monkeypatch.setattr(core, name, failing(MemoryError()))
    assert_out_of_memory(served(partial(refusal, ask=ASK[name])))


def test_running_out_of_memory_on_the_wire(monkeypatch: pytest.MonkeyPatch) -> None:
    """So is a MemoryError of parsing or serializing a message, outside of the service."""
    monkeypatch.setitem(METHODS, "Attend", METHODS["Attend"]._replace(prepare=failing(MemoryError())))
    assert_out_of_memory(served(refusal))


def assert_out_of_memory(error: qkv.CallError) -> None:
    assert isinstance(error, qkv.TooLargeError)
    assert error.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert error.reason == "OUT_OF_MEMORY"
    assert str(error) == "the server ran out of memory while computing the answer"


def test_bytes_that_are_no_message() -> None:
    """What cannot be parsed is the caller's mistake, INVALID_ARGUMENT, and not gRPC's INTERNAL."""
    error: Any = served(raw_refusal(b"\xff\xff\xff"))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert error.details() == "request: these 3 bytes are no qkv.v1.AttentionRequest message"


def test_the_server_of_these_tests_answers() -> None:
    """Without a fault put in, the same server answers the same question."""
    payload = AttentionRequest(query={"matrix": MATRIX}).SerializeToString()
    answer = AttentionResponse.FromString(served(lambda address: raw_call(address, payload)))
    assert list(answer.output.matrix.values) == MATRIX["values"]
