"""A busy server with a full queue says so at once, and when to try again; nothing that it admitted is lost."""

from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from typing import Any

import grpc
import pytest
from serving import SECONDS, ServerProcess

import qkv
from qkv_server.service.attend import attend
from qkv_server.service.calls import METHODS
from qkv_server.service.errors import OverloadedError

from .conftest import GO_ON, UNDER_WAY, Held

QUESTION = [[1.0, 2.0]]


def ask(server: ServerProcess) -> list[list[float]]:
    with qkv.Client(server.address, retries=False, timeout=SECONDS) as client:
        output: list[list[float]] = client.attention(QUESTION).output.tolist()
        return output


def test_a_full_server_refuses_and_answers_afterwards(held: Held, aside: ThreadPoolExecutor) -> None:
    """With one worker and no queue a second call is UNAVAILABLE at once; the first, and later ones, are answered."""
    server = held(["--workers", "1", "--queue", "0"])
    first = aside.submit(ask, server)
    server.wait_for(UNDER_WAY)
    with pytest.raises(qkv.UnavailableError) as refused:
        ask(server)
    assert refused.value.code is grpc.StatusCode.UNAVAILABLE
    assert refused.value.reason == "OVERLOADED"
    assert refused.value.retry_delay == pytest.approx(0.1)
    assert not first.done()
    server.write(GO_ON)
    assert first.result(SECONDS) == QUESTION
    later = aside.submit(ask, server)
    server.write(GO_ON)
    assert later.result(SECONDS) == QUESTION


def test_a_call_in_the_queue_is_answered(held: Held, aside: ThreadPoolExecutor) -> None:
    """With a queue of one, a second call waits, only a third is refused, and both are answered."""
    server = held(["--workers", "1", "--queue", "1"])
    first = aside.submit(ask, server)
    server.wait_for(UNDER_WAY)
    rivals = {aside.submit(ask, server), aside.submit(ask, server)}  # whichever comes first takes the place
    done, waiting = wait(rivals, SECONDS, FIRST_COMPLETED)
    (refused,) = done
    with pytest.raises(qkv.UnavailableError, match="queue of 1 calls is full"):
        refused.result()
    (second,) = waiting
    server.write(GO_ON)
    server.write(GO_ON)
    assert [first.result(SECONDS), second.result(SECONDS)] == [QUESTION, QUESTION]


@pytest.mark.parametrize(("retries", "calls"), [(True, 3), (False, 1)])
def test_a_client_tries_again_unless_told_not_to(retries: bool, calls: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Refused twice, a client as it comes gets its answer from the third call; with retries=False it asks once."""
    arrivals = 0

    def busy_at_first(*arguments: Any) -> Any:
        nonlocal arrivals
        arrivals += 1
        if arrivals < 3:
            raise OverloadedError(queue=0, retry_seconds=0.1)
        return attend(*arguments)

    monkeypatch.setitem(METHODS, "Attend", METHODS["Attend"]._replace(prepare=busy_at_first))
    with qkv.local(retries=retries) as client:
        if retries:
            assert client.attention(QUESTION).output.tolist() == QUESTION
        else:
            with pytest.raises(qkv.UnavailableError, match="busy"):
                client.attention(QUESTION)
    assert arrivals == calls


def test_health_is_answered_by_a_full_server(held: Held, aside: ThreadPoolExecutor) -> None:
    """Health takes no place among the calls: a full server still says that it serves."""
    server = held(["--workers", "1", "--queue", "0"])
    first = aside.submit(ask, server)
    server.wait_for(UNDER_WAY)
    with qkv.Client(server.address, retries=False) as client:
        assert client.health() is qkv.Health.SERVING
    server.write(GO_ON)
    assert first.result(SECONDS) == QUESTION
