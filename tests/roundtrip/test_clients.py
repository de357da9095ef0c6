"""The blocking and the asyncio client against a server: one body for both wherever a call is a call."""

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc
import ml_dtypes
import numpy as np
import pytest
from google.rpc import error_details_pb2, status_pb2
from serving import ServerProcess, stand_in

import qkv
from qkv import codec
from qkv.v1.attention_pb2 import AttentionResponse
from qkv.v1.tensor_pb2 import Operand

Use = Callable[[Any], Any]
Run = Callable[..., Any]
Answer = Callable[[grpc.ServicerContext], bytes]

X = np.array([[1.0, 0.0], [0.0, 1.0], [0.5, 0.5]])
WEIGHTS = np.exp(X @ X.T / np.sqrt(2)) / np.exp(X @ X.T / np.sqrt(2)).sum(axis=1, keepdims=True)


def blocking(use: Use, target: str, **arguments: Any) -> Any:
    with qkv.Client(target, **arguments) as client:
        return use(client)


def awaited(use: Use, target: str, **arguments: Any) -> Any:
    async def run() -> Any:
        async with qkv.AsyncClient(target, **arguments) as client:
            return await use(client)

    return asyncio.run(run())


both_clients = pytest.mark.parametrize("run", [blocking, awaited], ids=lambda run: run.__name__)


@contextmanager
def scripted(*answers: Answer) -> Iterator[tuple[str, list[float]]]:
    """A server that answers one call after another as told, the last for ever: its target, the times of the calls."""
    times: list[float] = []

    def attend(_: bytes, context: grpc.ServicerContext) -> bytes:
        times.append(time.monotonic())
        return answers[min(len(times), len(answers)) - 1](context)

    with stand_in(attend) as target:
        yield target, times


def answered(_: grpc.ServicerContext) -> bytes:
    response = AttentionResponse(output=Operand(tensor=codec.to_tensor(X)), semantics_version=1)
    return response.SerializeToString()


def refused(code: grpc.StatusCode) -> Answer:
    def answer(context: grpc.ServicerContext) -> bytes:
        context.abort(code, "not now")

    return answer


def overloaded(context: grpc.ServicerContext) -> bytes:
    """Refuse as an overloaded server does, with when to try again."""
    status = status_pb2.Status(code=14, message="busy")
    retry = error_details_pb2.RetryInfo()
    retry.retry_delay.FromMilliseconds(250)
    status.details.add().Pack(retry)
    context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
    context.abort(grpc.StatusCode.UNAVAILABLE, "busy")


def slow(context: grpc.ServicerContext) -> bytes:
    """Never answer, until the caller has given up."""
    ended = threading.Event()
    if context.add_callback(ended.set):
        ended.wait(30)
    return b""


def free_address() -> str:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{unused.getsockname()[1]}"


@both_clients
def test_attention_is_answered(run: Run, server: ServerProcess) -> None:
    """Attention answers what NumPy computes, with what was asked for."""
    result = run(lambda client: client.attention(X, outputs=["weights"]), server.address)
    assert isinstance(result, qkv.AttentionResult)
    assert result.weights is not None
    np.testing.assert_allclose(result.weights, WEIGHTS, rtol=1e-14)
    np.testing.assert_allclose(result.output, WEIGHTS @ X, rtol=1e-14)


@both_clients
def test_multi_head_attention_is_answered(run: Run, server: ServerProcess) -> None:
    """Projections stand before and after the heads, as torch.nn.Linear stores them."""
    weight, bias = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]), np.array([0.1, 0.2, 0.3])
    result = run(
        lambda client: client.multi_head_attention(X, heads=1, output_weight=weight, output_bias=bias), server.address
    )
    np.testing.assert_allclose(result.output, WEIGHTS @ X @ weight.T + bias, rtol=1e-14)


@both_clients
def test_lists_are_float64_and_arrays_keep_their_type(run: Run, server: ServerProcess) -> None:
    """Numbers that Python wrote are float64; an array is sent as it is."""
    half = X.astype(ml_dtypes.bfloat16)
    assert run(lambda client: client.attention([[1, 0], [0, 1]]), server.address).output.dtype == np.float64
    assert run(lambda client: client.attention(half), server.address).output.dtype == half.dtype


@both_clients
def test_health_is_answered(run: Run, server: ServerProcess) -> None:
    """The server as a whole and its service are SERVING; a service it does not have is NOT_FOUND."""
    assert run(lambda client: client.health(), server.address) is qkv.Health.SERVING
    assert run(lambda client: client.health("qkv.v1.AttentionService"), server.address) is qkv.Health.SERVING
    with pytest.raises(qkv.CallError) as missing:
        run(lambda client: client.health("qkv.v1.Nothing"), server.address)
    assert missing.value.code is grpc.StatusCode.NOT_FOUND


@both_clients
def test_a_wrong_request_raises_every_violation(run: Run, server: ServerProcess) -> None:
    """InvalidRequestError is a CallError and a ValueError, and carries code, reason and the wrong fields."""
    with pytest.raises(qkv.InvalidRequestError) as refused:
        run(lambda client: client.attention(X, np.zeros((4, 3)), scale=float("nan")), server.address)
    error = refused.value
    for kind in (qkv.CallError, qkv.QkvError, ValueError):
        assert isinstance(error, kind)
    assert (error.code, error.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST")
    violations = {violation.field: violation.description for violation in error.violations}
    assert violations.keys() == {"key", "scoring.scale"}
    assert violations["key"] == "last axis is 3, query has 2"
    assert str(error) == "; ".join(map(str, error.violations))
    assert error.__cause__ is None


@both_clients
def test_what_is_too_large_raises_its_sizes(run: Run, server: ServerProcess) -> None:
    """TooLargeError carries the bytes needed and the limit."""
    with pytest.raises(qkv.TooLargeError) as refused:
        run(lambda client: client.attention(np.zeros((0, 10**12, 4))), server.address)
    error = refused.value
    assert (error.code, error.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "REQUEST_TOO_LARGE")
    assert int(error.metadata["neededBytes"]) > int(error.metadata["limitBytes"])
    assert not isinstance(error, ValueError)


@both_clients
def test_a_late_answer_raises_deadline_exceeded(run: Run) -> None:
    """The timeout of the call, or else of the client, ends the wait; the error is a TimeoutError too."""
    with scripted(slow) as (target, _):
        for call, client in ((0.2, 60.0), (None, 0.2)):
            started = time.monotonic()
            with pytest.raises(qkv.DeadlineExceededError) as late:
                run(lambda it, timeout=call: it.attention(X, timeout=timeout), target, timeout=client)
            assert 0.15 < time.monotonic() - started < 10
            assert isinstance(late.value, qkv.CallError)
            assert isinstance(late.value, TimeoutError)


@both_clients
def test_no_server_raises_unavailable(run: Run) -> None:
    """Where nobody listens the call fails at once, with no advice when to try again."""
    with pytest.raises(qkv.UnavailableError) as absent:
        run(lambda client: client.attention(X), free_address(), retries=False)
    assert absent.value.code is grpc.StatusCode.UNAVAILABLE
    assert absent.value.retry_delay is None


@both_clients
def test_wait_for_ready_waits_for_the_server(run: Run) -> None:
    """A client, or a call, told to wait is answered once a server comes up."""
    options = [("grpc.initial_reconnect_backoff_ms", 100), ("grpc.max_reconnect_backoff_ms", 200)]
    for of_client, of_call in ((True, None), (False, True)):
        address = free_address()

        def ask(client: Any, wait: bool | None = of_call) -> Any:
            return client.attention(X, wait_for_ready=wait)

        with ThreadPoolExecutor(1) as pool:
            asked = pool.submit(run, ask, address, retries=False, wait_for_ready=of_client, options=options)
            time.sleep(0.2)
            assert not asked.done()
            with ServerProcess(addresses=(address,)):
                np.testing.assert_allclose(asked.result(30).output, WEIGHTS @ X, rtol=1e-14)


@both_clients
def test_unavailable_is_tried_again(run: Run) -> None:
    """Two refusals with UNAVAILABLE are not seen by the caller; between the attempts there is a pause."""
    busy = refused(grpc.StatusCode.UNAVAILABLE)
    with scripted(busy, busy, answered) as (target, times):
        np.testing.assert_array_equal(run(lambda client: client.attention(X), target).output, X)
        assert len(times) == 3
        assert times[2] - times[0] > 0.01


@both_clients
def test_retries_can_be_turned_off(run: Run) -> None:
    """Without retries the first UNAVAILABLE is the answer."""
    with scripted(refused(grpc.StatusCode.UNAVAILABLE), answered) as (target, times):
        with pytest.raises(qkv.UnavailableError):
            run(lambda client: client.attention(X), target, retries=False)
        assert len(times) == 1


@both_clients
def test_retries_end(run: Run) -> None:
    """A server that stays overloaded is asked four times; the error carries its advice."""
    with scripted(overloaded) as (target, times):
        with pytest.raises(qkv.UnavailableError) as busy:
            run(lambda client: client.attention(X), target)
        assert len(times) == 4
        assert busy.value.retry_delay == 0.25


@both_clients
@pytest.mark.parametrize("code", ["INTERNAL", "RESOURCE_EXHAUSTED", "INVALID_ARGUMENT", "UNKNOWN"])
def test_nothing_else_is_tried_again(code: str, run: Run) -> None:
    """Other refusals come at once, as CallErrors that say their code, also without any details."""
    with scripted(refused(grpc.StatusCode[code]), answered) as (target, times):
        with pytest.raises(qkv.CallError, match="not now") as error:
            run(lambda client: client.attention(X), target)
        assert len(times) == 1
        assert (error.value.code.name, error.value.reason, error.value.metadata) == (code, "", {})


@both_clients
def test_details_that_are_no_details_are_ignored(run: Run) -> None:
    """Trailers that are no google.rpc.Status, as a proxy may send, still make the error of the code."""

    def garbled(context: grpc.ServicerContext) -> bytes:
        context.set_trailing_metadata((("grpc-status-details-bin", b"\xff\xff"),))
        context.abort(grpc.StatusCode.INVALID_ARGUMENT, "no")

    with scripted(garbled) as (target, _):
        with pytest.raises(qkv.InvalidRequestError, match="no") as error:
            run(lambda client: client.attention(X), target)
        assert error.value.violations == ()
