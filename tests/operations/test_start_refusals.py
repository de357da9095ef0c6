"""What keeps a server from starting is one line that says why, and an exit status that is not 0."""

import asyncio
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from serving import SECONDS, ServerProcess

from qkv_server.operations.addresses import AddressError, check
from qkv_server.operations.server import Server
from qkv_server.operations.settings import Settings, TLSFiles

from .conftest import Certificates


def refusal(*arguments: str) -> tuple[int, list[str]]:
    """The exit status and the lines on standard error of a server that does not start."""
    command = [sys.executable, "-m", "qkv_server", "serve", *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert "Traceback" not in ended.stderr
    assert ended.stdout == ""
    return ended.returncode, ended.stderr.splitlines()


def resolve(monkeypatch: pytest.MonkeyPatch, *hosts: str) -> None:
    """Let every name stand for these addresses."""

    def found(_: str, port: int, **__: object) -> list[tuple[int, int, int, str, tuple[str, int]]]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 0, "", (host, port)) for host in hosts]

    monkeypatch.setattr(socket, "getaddrinfo", found)


def test_a_port_that_is_taken(server: ServerProcess) -> None:
    """A second server on one port ends with status 1 and says that the address is in use."""
    status, lines = refusal("--address", server.address)
    assert (status, lines) == (1, [f"qkv-server: cannot serve on '{server.address}': Address already in use"])


def test_a_port_that_is_taken_on_one_address_of_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """A port that another server has on one address of a name is not shared with it: clients could meet either."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        resolve(monkeypatch, "127.0.0.2", "127.0.0.1")
        address = f"two.addresses:{taken.getsockname()[1]}"
        with pytest.raises(AddressError, match="Address already in use"):
            check(address)


def test_a_name_of_which_this_machine_has_one_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """An address of a name that this machine does not have is passed over, as IPv6 often is, unless it is the only."""
    resolve(monkeypatch, "192.0.2.1", "127.0.0.1")
    check("two.addresses:0")
    resolve(monkeypatch, "192.0.2.1")
    with pytest.raises(AddressError, match="Cannot assign requested address"):
        check("one.address:0")


def test_a_unix_socket_that_is_taken(tmp_path: Path) -> None:
    """A second server on one unix socket ends, and the first one keeps its socket."""
    address = f"unix:{tmp_path}/qkv.sock"
    with ServerProcess(addresses=(address,)):
        inode = (tmp_path / "qkv.sock").stat().st_ino
        status, lines = refusal("--address", address)
        assert (status, lines) == (1, [f"qkv-server: cannot serve on '{address}': Address already in use"])
        assert (tmp_path / "qkv.sock").stat().st_ino == inode


def test_an_address_that_makes_no_sense() -> None:
    """The command says the address and what was expected instead, in one line, status 1."""
    status, lines = refusal("--address", "nonsense")
    expected = "expected host:port, a port from 0 to 65535, or unix:/path"
    assert (status, lines) == (1, [f"qkv-server: cannot serve on 'nonsense': {expected}"])


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("", "expected host:port"),
        ("127.0.0.1", "expected host:port"),
        ("127.0.0.1:", "expected host:port"),
        (":50051", "expected host:port"),
        ("127.0.0.1:ssh", "expected host:port"),
        ("127.0.0.1:65536", "a port from 0 to 65535"),
        ("::1:50051", "expected host:port"),
        ("nowhere.invalid:0", "[Nn]ame|resolution"),  # resolvers differ in what they say
        ("192.0.2.1:0", "Cannot assign requested address"),
        ("unix:", "expected unix:/path"),
        ("unix:/nowhere/qkv.sock", "directory that exists"),
    ],
)
def test_an_address_that_cannot_be_served_on(address: str, reason: str) -> None:
    """Half an address is not completed by guessing; the error names the address and what was expected."""
    with pytest.raises(AddressError, match=reason) as refused:
        asyncio.run(Server.start(Settings(addresses=(address,))))
    assert str(refused.value).startswith(f"cannot serve on '{address}': ")


def test_an_address_twice() -> None:
    """A server that is told one address twice does not start."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
    with pytest.raises(AddressError, match="Address already in use"):
        asyncio.run(Server.start(Settings(addresses=(address, address))))


def test_certificates_that_are_no_pem(certificates: Certificates, tmp_path: Path) -> None:
    """A certificate file of something else ends the start with one line that names it."""
    other = tmp_path / "other.pem"
    other.write_text("no certificate\n")
    files = ("--tls-certificate", str(other), "--tls-key", str(certificates.server_key))
    status, (line,) = refusal("--address", "127.0.0.1:0", *files)
    assert status == 1
    assert line.startswith(f"qkv-server: {other} and {certificates.server_key}: expected a PEM certificate chain")


def test_certificates_of_another_key(certificates: Certificates) -> None:
    """A key that is not the certificate's keeps a server from starting; the error names both files."""
    files = TLSFiles(certificate=certificates.server, key=certificates.client_key)
    with pytest.raises(OSError, match="mismatch") as refused:
        asyncio.run(Server.start(Settings(addresses=("127.0.0.1:0",), tls=files)))
    assert str(refused.value).startswith(f"{certificates.server} and {certificates.client_key}: ")


@pytest.mark.parametrize("content", ["", "no certificate\n"])
def test_certificates_of_no_authority(content: str, certificates: Certificates, tmp_path: Path) -> None:
    """Mutual TLS without any authority to trust does not start, rather than refuse every client later."""
    empty = tmp_path / "authorities.pem"
    empty.write_text(content)
    files = TLSFiles(certificate=certificates.server, key=certificates.server_key, client_ca=empty)
    with pytest.raises(OSError, match="expected PEM certificates of authorities") as refused:
        asyncio.run(Server.start(Settings(addresses=("127.0.0.1:0",), tls=files)))
    assert str(refused.value).startswith(f"{empty}: ")
