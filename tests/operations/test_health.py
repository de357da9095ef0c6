"""The standard health service, asked and watched through its own package."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2_grpc
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from refusals import refusal_of
from serving import SECONDS, ServerProcess

import qkv

from .conftest import GO_ON, UNDER_WAY, Held

SERVICES = ("", "qkv.v1.AttentionService", "qkv.v1.ModelService", "inference.GRPCInferenceService", "liveness")
DRAIN = ["--drain-seconds", "600"]  # much longer than a test, which ends the server itself


def stub_of(channel: grpc.Channel) -> Any:  # the stubs' stubs leave out the calls
    return health_pb2_grpc.HealthStub(channel)


def watch(health: Any, service: str) -> Any:
    return health.Watch(HealthCheckRequest(service=service), timeout=SECONDS)


def check(health: Any, service: str) -> int:
    response: HealthCheckResponse = health.Check(HealthCheckRequest(service=service), timeout=SECONDS)
    return response.status


@pytest.fixture
def draining() -> Iterator[ServerProcess]:
    """A server that, told to end, will drain for longer than the test lasts."""
    server = ServerProcess(DRAIN)
    yield server
    server.kill()


@pytest.mark.parametrize("service", SERVICES)
def test_a_running_server_serves(service: str, server: ServerProcess) -> None:
    """The server as a whole, its service and its liveness are SERVING, for the standard stub and for qkv.Client."""
    with grpc.insecure_channel(server.address) as channel, qkv.Client(server.address) as client:
        assert check(stub_of(channel), service) == HealthCheckResponse.SERVING
        assert client.health(service) is qkv.Health.SERVING


def test_an_unknown_service_is_not_found(server: ServerProcess) -> None:
    """Asked for a service that it does not have, the server says NOT_FOUND, and which it has."""
    with grpc.insecure_channel(server.address) as channel, pytest.raises(grpc.RpcError) as refused:
        check(stub_of(channel), "nope")
    assert refused.value.code() is grpc.StatusCode.NOT_FOUND
    details = refused.value.details() or ""
    assert "'nope'" in details
    assert "'qkv.v1.AttentionService'" in details


def test_a_name_that_is_no_name_is_not_repeated(server: ServerProcess) -> None:
    """Of an unknown service with a long name the refusal repeats the beginning, and names those that there are."""
    with grpc.insecure_channel(server.address) as channel:
        refusal = refusal_of(lambda: check(stub_of(channel), "x" * 100_000))
    assert (refusal.code, refusal.info.reason) == (grpc.StatusCode.NOT_FOUND, "UNKNOWN_SERVICE")
    assert refusal.message.startswith(f"no service '{'x' * 100}…', expected one of '', 'qkv.v1.AttentionService'")


def test_an_unknown_service_can_be_watched(server: ServerProcess) -> None:
    """A watcher of a service that is not there is told SERVICE_UNKNOWN, as the protocol says."""
    with grpc.insecure_channel(server.address) as channel:
        news = watch(stub_of(channel), "nope")
        assert next(news).status == HealthCheckResponse.SERVICE_UNKNOWN
        news.cancel()


def test_a_drain_is_told_while_calls_are_still_answered(draining: ServerProcess) -> None:
    """At SIGTERM watchers hear NOT_SERVING; for --drain-seconds the process lives on, and answers."""
    with grpc.insecure_channel(draining.address) as channel, qkv.Client(draining.address) as client:
        health = stub_of(channel)
        watches = [watch(health, service) for service in SERVICES[:2]]
        assert [next(news).status for news in watches] == [HealthCheckResponse.SERVING] * 2
        draining.terminate()
        assert [next(news).status for news in watches] == [HealthCheckResponse.NOT_SERVING] * 2
        *services, liveness = (check(health, service) for service in SERVICES)
        assert services == [HealthCheckResponse.NOT_SERVING] * (len(SERVICES) - 1)
        assert liveness == HealthCheckResponse.SERVING
        assert client.health() is qkv.Health.NOT_SERVING
        assert client.attention([[1.0, 2.0]]).output.tolist() == [[1.0, 2.0]]


def test_a_drain_is_told_to_a_client_that_comes_during_it(draining: ServerProcess) -> None:
    """A connection that is made while the server drains is still taken, and told so."""
    draining.terminate()
    draining.wait_for("draining")
    with qkv.Client(draining.address, retries=False) as late:
        assert late.health() is qkv.Health.NOT_SERVING
        assert late.health("liveness") is qkv.Health.SERVING


def test_a_watcher_that_leaves_takes_no_news_from_the_others(draining: ServerProcess) -> None:
    """Two watch one service and one goes: the other still hears of the drain."""
    with grpc.insecure_channel(draining.address) as channel, grpc.insecure_channel(draining.address) as other:
        staying, leaving = watch(stub_of(channel), ""), watch(stub_of(other), "")
        assert next(staying).status == next(leaving).status == HealthCheckResponse.SERVING
        leaving.cancel()
        # The server hears of it before it answers a later call of the same connection.
        assert check(stub_of(other), "") == HealthCheckResponse.SERVING
        draining.terminate()
        assert next(staying).status == HealthCheckResponse.NOT_SERVING


def test_a_watcher_does_not_hold_up_the_end(held: Held, aside: ThreadPoolExecutor) -> None:
    """A watcher of a stopping server hears the last news and is let go; it is not kept for the grace of the calls."""
    server = held(["--grace-seconds", "600"])  # a test gives up long before
    with grpc.insecure_channel(server.address) as channel, qkv.Client(server.address) as client:
        news = watch(stub_of(channel), "")
        assert next(news).status == HealthCheckResponse.SERVING
        call = aside.submit(client.attention, [[1.0, 2.0]])
        server.wait_for(UNDER_WAY)
        server.terminate()
        assert next(news).status == HealthCheckResponse.NOT_SERVING
        with pytest.raises(grpc.RpcError) as ended:
            next(news)
        assert ended.value.code() is grpc.StatusCode.UNAVAILABLE
        assert ended.value.details() == "the server is stopping"
        server.write(GO_ON)
        assert call.result(SECONDS).output.tolist() == [[1.0, 2.0]]
    assert server.stop() == 0


def test_a_watcher_of_an_idle_server_does_not_hold_up_the_end() -> None:
    """A server without calls ends at once though it is watched."""
    with (
        ServerProcess(["--grace-seconds", "600"]) as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        news = watch(stub_of(channel), "")
        assert next(news).status == HealthCheckResponse.SERVING
        assert server.stop() == 0
        news.cancel()
