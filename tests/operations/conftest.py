"""Certificates, and servers whose calls last as long as a test wants."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme
from serving import ServerProcess

UNDER_WAY = "a call is under way"  # what a held server says of each call
GO_ON = "."  # what it waits for

Held = Callable[[Sequence[str]], ServerProcess]


@dataclass(frozen=True)
class Certificates:
    """PEM files: an authority, a server's and a client's pair that it signed, and an authority that signed neither."""

    ca: Path
    server: Path
    server_key: Path
    client: Path
    client_key: Path
    other_ca: Path


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    folder = tmp_path_factory.mktemp("certificates")
    ca = trustme.CA()
    ca.cert_pem.write_to_path(folder / "ca.pem")
    for name, identity in (("server", "qkv.test"), ("client", "someone@qkv.test")):
        pair = ca.issue_cert(identity)
        pair.cert_chain_pems[0].write_to_path(folder / f"{name}.pem")
        pair.private_key_pem.write_to_path(folder / f"{name}.key")
    trustme.CA().cert_pem.write_to_path(folder / "other.pem")
    return Certificates(
        ca=folder / "ca.pem",
        server=folder / "server.pem",
        server_key=folder / "server.key",
        client=folder / "client.pem",
        client_key=folder / "client.key",
        other_ca=folder / "other.pem",
    )


@pytest.fixture
def held() -> Iterator[Held]:
    """Starts servers that hold each call until they are sent GO_ON; see held_server."""
    program = [str(Path(__file__).with_name("held_server.py"))]
    with ExitStack() as servers:

        def start(arguments: Sequence[str]) -> ServerProcess:
            server = ServerProcess(arguments, program=program)
            servers.callback(server.kill)
            return server

        yield start


@pytest.fixture
def aside() -> Iterator[ThreadPoolExecutor]:
    """Threads for the calls that a test makes while it does something else."""
    with ThreadPoolExecutor() as threads:
        yield threads
