"""Certificates, read by OpenSSL, which says what is wrong with them; gRPC does not, and takes no empty authorities."""

import ssl

import grpc

from qkv_server.operations.settings import TLSFiles


def ssl_context(tls: TLSFiles) -> ssl.SSLContext:
    """The files as Python's servers take them; raises OSError for files that cannot be used."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        made.load_cert_chain(tls.certificate, tls.key, password=lambda: "")  # never asks at the terminal
    except ssl.SSLError as error:
        pair = f"{tls.certificate} and {tls.key}"
        raise OSError(f"{pair}: expected a PEM certificate chain and its unencrypted key ({error})") from None
    if tls.client_ca is not None:
        try:
            made.load_verify_locations(tls.client_ca)
        except ssl.SSLError as error:
            raise OSError(f"{tls.client_ca}: expected PEM certificates of authorities ({error})") from None
        made.verify_mode = ssl.CERT_REQUIRED
    return made


def grpc_credentials(tls: TLSFiles) -> grpc.ServerCredentials:
    """The files as gRPC takes them; raises OSError for files that cannot be used."""
    ssl_context(tls)
    client_ca = tls.client_ca.read_bytes() if tls.client_ca is not None else None
    return grpc.ssl_server_credentials(
        [(tls.key.read_bytes(), tls.certificate.read_bytes())],
        root_certificates=client_ca,
        require_client_auth=client_ca is not None,
    )
