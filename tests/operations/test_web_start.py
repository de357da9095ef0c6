"""What keeps a server from serving HTTP is one line that says why; without the setting nothing of it is loaded."""

import asyncio
import socket
import subprocess
import sys

import pytest
from serving import SECONDS, ServerProcess
from web.asking import Web, web_address

from qkv_server.operations.addresses import AddressError
from qkv_server.operations.server import Server
from qkv_server.operations.settings import Settings

HIDING = """
import sys
sys.modules[sys.argv.pop(1)] = None  # as if it were not installed
from qkv_server.command import main
main()
"""
LISTING = """
import sys, qkv_server.command
print([name for name in ("connectrpc", "starlette", "uvicorn", "protobuf") if name in sys.modules])
"""


def refusal(*arguments: str, program: tuple[str, ...] = ("-m", "qkv_server")) -> tuple[int, str]:
    command = [sys.executable, *program, "serve", "--address", "127.0.0.1:0", *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert "Traceback" not in ended.stderr
    return ended.returncode, ended.stderr


@pytest.mark.parametrize("package", ["connectrpc", "starlette", "uvicorn", "protobuf"])
def test_without_the_extra_the_error_names_it(package: str) -> None:
    """A package that is missing is named, and so is the extra that brings it; status 1."""
    status, said = refusal("--web-address", "127.0.0.1:0", program=("-c", HIDING, package))
    assert status == 1
    assert said.startswith(f"qkv-server: --web-address needs the package {package}")
    assert said.endswith("pip install 'qkv-server[web]'\n")


def test_without_the_setting_nothing_of_it_is_needed() -> None:
    """Neither the command nor a server without --web-address loads what the extra brings."""
    listed = subprocess.run(
        [sys.executable, "-c", LISTING], capture_output=True, text=True, timeout=SECONDS, check=True
    )
    assert listed.stdout == "[]\n"
    with ServerProcess(program=("-c", HIDING, "uvicorn")) as server:
        assert server.stop() == 0
    assert "HTTP" not in server.log


def test_a_port_that_is_taken() -> None:
    """A port of another server is not shared, and the address is named."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        status, said = refusal("--web-address", address)
        assert (status, said) == (1, f"qkv-server: cannot serve on '{address}': Address already in use\n")


@pytest.mark.parametrize("address", ["8080", "127.0.0.1", "unix:/tmp/qkv.sock", "127.0.0.1:65536"])
def test_an_address_that_makes_no_sense(address: str) -> None:
    """HTTP is served on host:port and on nothing else."""
    with pytest.raises(AddressError, match="expected host:port"):
        asyncio.run(Server.start(Settings(addresses=("127.0.0.1:0",), web_address=address)))


def test_every_address_of_a_name() -> None:
    """The name localhost stands for all the loopback addresses that the machine gives it, on one port."""
    with ServerProcess(["--web-address", "localhost:0"]) as server:
        port = int(web_address(server).removeprefix("localhost:"))
        found = {str(info[4][0]) for info in socket.getaddrinfo("localhost", port, type=socket.SOCK_STREAM)}
        assert found
        for host in found:
            assert Web(f"[{host}]:{port}" if ":" in host else f"{host}:{port}").get("/readyz").status == 200
