"""SIGTERM with HTTP beside gRPC: both ports drain together, and no browser holds them up."""

import http.client
import json
import select
import socket
from concurrent.futures import ThreadPoolExecutor

import pytest
from serving import SECONDS, ServerProcess
from web.asking import ATTENTION, HEALTH, Reply, Web, web_address

import qkv

from .conftest import GO_ON, UNDER_WAY, Held

HTTP = ["--web-address", "127.0.0.1:0"]
QUESTION = {"query": {"matrix": {"rows": 1, "columns": 2, "values": [1, 2]}}}


def ask(server: ServerProcess) -> Reply:
    return Web(web_address(server)).ask("Attend", QUESTION)


def assert_answered(reply: Reply) -> None:
    assert (reply.status, reply.json["output"]["matrix"]["values"]) == (200, [1, 2])


def test_a_call_under_way_is_answered(held: Held, aside: ThreadPoolExecutor) -> None:
    """A call over HTTP that is under way, and one over gRPC, are answered; new ones are refused; status 0."""
    server = held([*HTTP, "--workers", "2"])
    over_http = aside.submit(ask, server)
    server.wait_for(UNDER_WAY)
    with qkv.Client(server.address, retries=False, timeout=SECONDS) as client:
        over_grpc = aside.submit(client.attention, [[1.0, 2.0]])
        server.wait_for(UNDER_WAY, 2)
        server.terminate()
        host, port = web_address(server).split(":")
        while is_open(host, int(port)):  # until the server has begun to stop
            pass
        assert not over_http.done()
        server.write(GO_ON * 2)
        assert_answered(over_http.result(SECONDS))
        assert over_grpc.result(SECONDS).output.tolist() == [[1.0, 2.0]]
    assert server.stop() == 0
    assert "Traceback" not in server.log


def is_open(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port)).close()
    except ConnectionError:
        return False
    return True


def test_the_drain_is_told_over_http(held: Held, aside: ThreadPoolExecutor) -> None:
    """While it drains the server still answers, says that it is alive but not ready, and takes calls."""
    server = held([*HTTP, "--drain-seconds", str(SECONDS), "--workers", "2"])
    web = Web(web_address(server))
    assert web.get("/readyz").status == 200
    server.terminate()
    server.wait_for("draining")
    assert web.get("/readyz").status == 503
    assert web.get("/healthz").status == 200
    assert web.post(HEALTH, b"{}").json == {"status": "NOT_SERVING"}
    assert web.post(HEALTH, b'{"service": "liveness"}').json == {"status": "SERVING"}
    call = aside.submit(ask, server)
    server.wait_for(UNDER_WAY)
    server.write(GO_ON)
    assert_answered(call.result(SECONDS))


def test_connections_without_a_call_are_closed() -> None:
    """Browsers keep connections, and open some to have them: none keeps the server from ending within its grace."""
    with ServerProcess([*HTTP, "--grace-seconds", str(10 * SECONDS)]) as server:
        host, port = web_address(server).split(":")
        kept = http.client.HTTPConnection(host, int(port))
        kept.request("GET", "/healthz")
        kept.getresponse().read()
        with socket.create_connection((host, int(port))) as opened, socket.create_connection((host, int(port))) as half:
            half.sendall(b"POST /qkv.v1")
            assert server.stop() == 0  # raises after SECONDS
            assert opened.recv(1) == b""
        kept.close()


@pytest.mark.parametrize("sent", [b"", b'{"query"'])
def test_a_request_that_never_ends_is_given_up(sent: bytes, held: Held) -> None:
    """A body that does not come holds a stopping server for its grace and no longer; status 0."""
    server = held([*HTTP, "--grace-seconds", "0.1"])
    host, port = web_address(server).split(":")
    head = f"POST {ATTENTION}Attend HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n"
    with socket.create_connection((host, int(port)), timeout=SECONDS) as slow:
        slow.sendall(head.encode() + sent)
        assert Web(f"{host}:{port}").get("/healthz").status == 200  # by now the other has been read too
        assert server.stop() == 0
        slow.recv(2**16)


def test_a_call_that_outlasts_the_grace_is_ended(held: Held, aside: ThreadPoolExecutor) -> None:
    """After --grace-seconds the caller is told UNAVAILABLE, and the process ends though its arithmetic would not."""
    server = held([*HTTP, "--grace-seconds", "0.1"])
    call = aside.submit(ask, server)
    server.wait_for(UNDER_WAY)
    server.terminate()
    reply = call.result(SECONDS)
    assert (reply.status, reply.json["code"]) == (503, "unavailable")
    assert server.stop() == 0
    assert "giving up on what took longer than 0.1 s" in server.log
    assert "Traceback" not in server.log


def test_a_caller_who_leaves_frees_the_place(held: Held, aside: ThreadPoolExecutor) -> None:
    """A request in the queue whose caller hangs up is never computed: the next one takes its place."""
    server = held([*HTTP, "--workers", "1", "--queue", "1"])
    first = aside.submit(ask, server)
    server.wait_for(UNDER_WAY)
    rivals = [rival(server), rival(server)]  # whichever comes first takes the place
    (refused, *_), _, _ = select.select([each.sock for each in rivals], [], [], SECONDS)
    for each in rivals:
        if each.sock is refused:
            reply = json.loads(each.getresponse().read())
            assert (reply["code"], reply["details"][1]["debug"]) == ("unavailable", {"retryDelay": "0.100s"})
        each.close()
    for _ in range(10):  # turns of the event loop, in which it notices
        assert Web(web_address(server)).get("/readyz").status == 200
    second = aside.submit(ask, server)
    server.write(GO_ON)
    server.write(GO_ON)
    assert_answered(first.result(SECONDS))
    assert_answered(second.result(SECONDS))
    assert server.stop() == 0  # so that its log is whole
    assert server.log.count(UNDER_WAY) == 2


def rival(server: ServerProcess) -> http.client.HTTPConnection:
    """A connection over which a question was sent, too large for the event loop to look at."""
    connection = http.client.HTTPConnection(web_address(server), timeout=SECONDS)
    body = json.dumps(QUESTION).encode() + b" " * 2**15
    connection.request("POST", f"{ATTENTION}Attend", body, {"content-type": "application/json"})
    return connection
