"""TLS over HTTP is that of gRPC: the right caller is answered, every other one is not."""

import socket
import ssl
from collections.abc import Iterator

import pytest
from serving import SECONDS, ServerProcess
from web.asking import web_address

from .conftest import Certificates

NAME = "qkv.test"


@pytest.fixture(scope="module", params=[False, True], ids=["tls", "mutual"])
def encrypted(request: pytest.FixtureRequest, certificates: Certificates) -> Iterator[tuple[str, bool]]:
    """The HTTP address of a server with TLS, and whether it asks its callers for a certificate."""
    files = ["--tls-certificate", str(certificates.server), "--tls-key", str(certificates.server_key)]
    if request.param:
        files += ["--tls-client-ca", str(certificates.ca)]
    with ServerProcess(["--web-address", "127.0.0.1:0", *files]) as server:
        yield web_address(server), request.param


def answer(address: str, context: ssl.SSLContext | None) -> bytes:
    """The first line of the answer to a question for health; raises OSError if there is none."""
    host, port = address.split(":")
    with socket.create_connection((host, int(port)), timeout=SECONDS) as plain:
        used = plain if context is None else context.wrap_socket(plain, server_hostname=NAME)
        with used:
            used.sendall(b"GET /readyz HTTP/1.1\r\nhost: qkv.test\r\n\r\n")
            with used.makefile("rb") as lines:
                line = lines.readline()
    if not line:
        raise ConnectionError("closed")
    return line


def test_a_caller_with_a_certificate_is_answered(encrypted: tuple[str, bool], certificates: Certificates) -> None:
    """Who trusts the authority, and shows a certificate of it, is answered by either server."""
    context = ssl.create_default_context(cafile=certificates.ca)
    context.load_cert_chain(certificates.client, certificates.client_key)
    assert answer(encrypted[0], context) == b"HTTP/1.1 200 OK\r\n"


def test_a_caller_without_a_certificate(encrypted: tuple[str, bool], certificates: Certificates) -> None:
    """Who shows none is answered unless the server asks for one."""
    address, mutual = encrypted
    context = ssl.create_default_context(cafile=certificates.ca)
    if mutual:
        with pytest.raises(OSError, match=r"(?i)certificate required|reset|closed"):
            answer(address, context)
    else:
        assert answer(address, context) == b"HTTP/1.1 200 OK\r\n"


def test_nothing_is_answered_in_plain_text(encrypted: tuple[str, bool]) -> None:
    """A server with TLS answers no plain HTTP."""
    with pytest.raises(ConnectionError):
        answer(encrypted[0], None)


def test_a_caller_of_another_authority_is_refused(encrypted: tuple[str, bool], certificates: Certificates) -> None:
    """A caller does not talk to a server whose certificate its authority did not sign."""
    context = ssl.create_default_context(cafile=certificates.other_ca)
    with pytest.raises(ssl.SSLCertVerificationError):
        answer(encrypted[0], context)
