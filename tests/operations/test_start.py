"""A server that starts: it says where it listens, and answers there."""

import re
import socket
from pathlib import Path

import numpy as np
from serving import ServerProcess

import qkv


def answers(address: str) -> bool:
    with qkv.Client(address, retries=False) as client:
        return client.health() is qkv.Health.SERVING and client.attention([[1.0, 2.0]]).output.tolist() == [[1.0, 2.0]]


def test_says_a_free_port_in_place_of_0_and_answers_there(server: ServerProcess) -> None:
    """Port 0 becomes a free port, which the log says, and the server answers on it."""
    assert re.fullmatch(r"127\.0\.0\.1:[1-9]\d*", server.address)
    assert answers(server.address)


def test_serves_tcp_and_a_unix_socket_at_once(tmp_path: Path) -> None:
    """Each --address is listened on, and each is said."""
    unix = f"unix:{tmp_path}/qkv.sock"
    with ServerProcess(addresses=("127.0.0.1:0", unix, "127.0.0.1:0")) as server:
        assert server.addresses[1] == unix
        assert len(set(server.addresses)) == 3
        assert [answers(address) for address in server.addresses] == [True] * 3
        assert server.stop() == 0
    assert server.log.count("serving on ") == 3


def test_debug_is_of_the_server_and_not_of_its_libraries() -> None:
    """At --log-level debug gRPC and asyncio, which would tell of each turn of the event loop, log no details."""
    with ServerProcess(["--log-level", "debug"]) as server:
        assert answers(server.address)
        assert server.stop() == 0
    assert "INFO qkv_server.operations.server: stopped" in server.log
    assert not re.search(r" DEBUG (grpc|asyncio)", server.log)


def test_takes_several_addresses_from_the_environment(tmp_path: Path) -> None:
    """QKV_ADDRESS names several addresses parted by spaces."""
    unix = f"unix:{tmp_path}/qkv.sock"
    with ServerProcess(addresses=(), environment={"QKV_ADDRESS": f"127.0.0.1:0 {unix}"}) as server:
        assert server.addresses[1] == unix
        assert [answers(address) for address in server.addresses] == [True] * 2


def test_serves_on_every_address_of_a_name() -> None:
    """The name localhost stands for all the loopback addresses that the machine gives it, on one port."""
    with ServerProcess(addresses=("localhost:0",)) as server:
        port = int(server.address.removeprefix("localhost:"))
        found = {info[4][0] for info in socket.getaddrinfo("localhost", port, type=socket.SOCK_STREAM)}
        assert found
        for host in found:
            assert answers(f"[{host}]:{port}" if ":" in str(host) else f"{host}:{port}")


def test_takes_over_the_socket_of_a_server_that_is_gone(tmp_path: Path) -> None:
    """A socket file left behind by a killed server does not keep the next one from starting."""
    unix = f"unix:{tmp_path}/qkv.sock"
    killed = ServerProcess(addresses=(unix,))
    killed.kill()
    assert (tmp_path / "qkv.sock").exists()
    with ServerProcess(addresses=(unix,)) as server:
        assert answers(server.address)


def test_the_embedded_server_answers_as_the_command(client: qkv.Client) -> None:
    """qkv.local() starts a server in this process, whose answers are bit for bit those of the command."""
    query = np.random.default_rng(0).standard_normal((3, 5, 8))
    expected = client.attention(query, heads=2, outputs=["weights"])
    with qkv.local() as local:
        address = local.target
        actual = local.attention(query, heads=2, outputs=["weights"])
    assert address != client.target
    assert {name: array.tobytes() for name, array in actual.arrays().items()} == {
        name: array.tobytes() for name, array in expected.arrays().items()
    }
