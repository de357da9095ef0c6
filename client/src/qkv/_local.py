"""A server inside this process, for notebooks and tests."""

from typing import Any

from qkv._client import Client


class LocalClient(Client):
    """A client of a server that lives and ends with it."""

    def __init__(self, server: Any, **arguments: Any) -> None:
        super().__init__(server.address, **arguments)
        self._server = server

    def close(self) -> None:
        """Close the connection and stop the server."""
        super().close()
        self._server.stop()


def local(**arguments: Any) -> LocalClient:
    """Start a server in this process on a free loopback port and return a client of it; closing it stops both.

    The arguments are those of `Client` but the target. Needs the package qkv-server; raises ImportError without it.

        with qkv.local() as client:
            client.attention(x).output
    """
    try:
        from qkv_server.embedded import EmbeddedServer  # noqa: PLC0415 - the client does not need the server
    except ImportError as error:
        raise ImportError("qkv.local() runs a server in this process: pip install qkv-server") from error
    return LocalClient(EmbeddedServer.start(), **arguments)
