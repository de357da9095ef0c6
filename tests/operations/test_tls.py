"""TLS and mutual TLS: the right client is answered, every other one is not."""

import asyncio
import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
from serving import ServerProcess

import qkv
from qkv.cli.main import main

from .conftest import Certificates

NAME = "qkv.test"


@pytest.fixture(scope="module")
def encrypted(certificates: Certificates, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server with TLS, that asks no client for a certificate, and with a unix socket beside."""
    files = ["--tls-certificate", str(certificates.server), "--tls-key", str(certificates.server_key)]
    unix = f"unix:{tmp_path_factory.mktemp('tls')}/qkv.sock"
    with ServerProcess(files, addresses=("127.0.0.1:0", unix)) as server:
        yield server


@pytest.fixture(scope="module")
def mutual(certificates: Certificates) -> Iterator[ServerProcess]:
    """A server with TLS that asks every client for a certificate, told so by variables."""
    environment = {
        "QKV_TLS_CERTIFICATE": str(certificates.server),
        "QKV_TLS_KEY": str(certificates.server_key),
        "QKV_TLS_CLIENT_CA": str(certificates.ca),
    }
    with ServerProcess(environment=environment) as server:
        yield server


@pytest.fixture
def trusting(certificates: Certificates) -> qkv.TLS:
    """What a client without a certificate of its own needs."""
    return qkv.TLS(ca=certificates.ca, server_name=NAME)


@pytest.fixture
def known(certificates: Certificates) -> qkv.TLS:
    """What a client with a certificate needs."""
    return qkv.TLS(
        ca=str(certificates.ca), certificate=certificates.client, key=certificates.client_key, server_name=NAME
    )


def ask(server: ServerProcess, tls: qkv.TLS | None) -> list[list[float]]:
    with qkv.Client(server.address, tls=tls, retries=False) as client:
        output: list[list[float]] = client.attention([[1.0, 2.0]]).output.tolist()
        return output


def test_a_client_that_trusts_the_authority_is_answered(encrypted: ServerProcess, trusting: qkv.TLS) -> None:
    """With the authority and the name of the server's certificate, calls are answered."""
    assert ask(encrypted, trusting) == [[1.0, 2.0]]


def test_the_asyncio_client_takes_the_same_tls(mutual: ServerProcess, known: qkv.TLS) -> None:
    """AsyncClient is answered over mutual TLS with what Client is answered with."""

    async def call() -> list[list[float]]:
        async with qkv.AsyncClient(mutual.address, tls=known) as client:
            output: list[list[float]] = (await client.attention([[1.0, 2.0]])).output.tolist()
            return output

    assert asyncio.run(call()) == [[1.0, 2.0]]


def test_a_client_without_tls_is_refused(encrypted: ServerProcess) -> None:
    """A server with TLS answers nothing in plain text."""
    with pytest.raises(qkv.UnavailableError):
        ask(encrypted, None)


def test_a_unix_socket_is_not_encrypted(encrypted: ServerProcess) -> None:
    """Beside TLS over TCP, the unix socket is as it was: the file system guards it."""
    with qkv.Client(encrypted.addresses[1], retries=False) as client:
        assert client.health() is qkv.Health.SERVING


def test_a_server_of_another_authority_is_refused(
    encrypted: ServerProcess, trusting: qkv.TLS, certificates: Certificates
) -> None:
    """A client does not talk to a server whose certificate its authority did not sign."""
    with pytest.raises(qkv.UnavailableError):
        ask(encrypted, dataclasses.replace(trusting, ca=certificates.other_ca))


@pytest.mark.parametrize("name", [None, "other.test"])
def test_a_server_of_another_name_is_refused(name: str | None, encrypted: ServerProcess, trusting: qkv.TLS) -> None:
    """A client does not talk to a server whose certificate is for another name than it asks for."""
    with pytest.raises(qkv.UnavailableError):
        ask(encrypted, dataclasses.replace(trusting, server_name=name))


def test_a_client_with_a_certificate_is_answered(mutual: ServerProcess, known: qkv.TLS) -> None:
    """With a certificate that the server's authority signed, calls are answered."""
    assert ask(mutual, known) == [[1.0, 2.0]]


def test_a_client_without_a_certificate_is_refused(mutual: ServerProcess, trusting: qkv.TLS) -> None:
    """Trusting the server is not enough where the server asks who the client is."""
    with pytest.raises(qkv.UnavailableError):
        ask(mutual, trusting)


def test_a_client_of_another_authority_is_refused(mutual: ServerProcess, known: qkv.TLS, tmp_path: Path) -> None:
    """A certificate that the server's authority did not sign does not let a client in."""
    pair = trustme.CA().issue_cert("someone@qkv.test")
    pair.cert_chain_pems[0].write_to_path(tmp_path / "client.pem")
    pair.private_key_pem.write_to_path(tmp_path / "client.key")
    stranger = dataclasses.replace(known, certificate=tmp_path / "client.pem", key=tmp_path / "client.key")
    with pytest.raises(qkv.UnavailableError):
        ask(mutual, stranger)


def test_half_a_key_pair_is_refused_before_any_call(certificates: Certificates) -> None:
    """A certificate without its key is an error of the caller's, told when the client is made."""
    with pytest.raises(ValueError, match="certificate and key"):
        qkv.Client("localhost:1", tls=qkv.TLS(certificate=certificates.client))


def test_the_command_line_takes_the_same_tls(
    mutual: ServerProcess, certificates: Certificates, capsys: pytest.CaptureFixture[str]
) -> None:
    """`qkv` reaches a server over mutual TLS by its flags, and does not without its certificate."""
    trust = ["health", "--target", mutual.address, "--ca", str(certificates.ca), "--server-name", NAME]
    identity = ["--certificate", str(certificates.client), "--certificate-key", str(certificates.client_key)]
    assert main([*trust, *identity]) == 0
    assert main(trust) == 1
    assert "UNAVAILABLE" in capsys.readouterr().err
