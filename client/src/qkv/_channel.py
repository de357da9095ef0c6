"""How a client reaches a server: the target, transport security, and what gRPC does by itself."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

Options = list[tuple[str, Any]]

RETRIES = {
    "methodConfig": [
        {
            "name": [{"service": "qkv.v1.AttentionService"}, {"service": "qkv.v1.ModelService"}],
            "retryPolicy": {
                "maxAttempts": 4,
                "initialBackoff": "0.1s",
                "maxBackoff": "2s",
                "backoffMultiplier": 2,
                "retryableStatusCodes": ["UNAVAILABLE"],  # the only status that says it is safe (AIP-194)
            },
        }
    ]
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TLS:
    """Transport security by PEM files: `ca` to trust (None: the system's), `certificate` and `key` for mutual TLS."""

    ca: str | Path | None = None
    certificate: str | Path | None = None
    key: str | Path | None = None
    server_name: str | None = None  # the name that the server's certificate must carry, if not the target's

    def credentials(self) -> grpc.ChannelCredentials:
        """The channel credentials; raises OSError for a file that cannot be read, ValueError for half a key pair."""
        if (self.certificate is None) != (self.key is None):
            raise ValueError("certificate and key: expected both for mutual TLS, or none")
        ca, certificate, key = (
            Path(path).read_bytes() if path is not None else None for path in (self.ca, self.certificate, self.key)
        )
        return grpc.ssl_channel_credentials(root_certificates=ca, private_key=key, certificate_chain=certificate)


LOOPBACK = ("localhost:", "127.", "[::1]", "unix:", "unix-abstract:")


def channel_options(target: str, tls: TLS | None, retries: bool, options: Options | None) -> Options:
    """The channel arguments: sizes are the server's to limit, retries by service config; the caller's come last."""
    arguments: Options = [
        ("grpc.enable_http_proxy", int(not target.startswith(LOOPBACK))),  # a proxy cannot reach this machine
        ("grpc.max_receive_message_length", -1),
        ("grpc.max_send_message_length", -1),
        ("grpc.enable_retries", int(retries)),
    ]
    if retries:
        arguments.append(("grpc.service_config", json.dumps(RETRIES)))
    if tls is not None and tls.server_name is not None:
        arguments.append(("grpc.ssl_target_name_override", tls.server_name))
    return arguments + list(options or [])
