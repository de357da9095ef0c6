"""A server inside this process, for notebooks and tests."""

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from qkv._client import Client

LOOK_SECONDS = 0.05  # between two looks at models that are being loaded


class LocalClient(Client):
    """A client of a server that lives and ends with it."""

    def __init__(self, server: Any, **arguments: Any) -> None:
        super().__init__(server.address, **arguments)
        self._server = server

    def close(self) -> None:
        """Close the connection and stop the server."""
        super().close()
        self._server.stop()


def local(*, models: str | Path | None = None, **arguments: Any) -> LocalClient:
    """Start a server in this process on a free loopback port and return a client of it; closing it stops both.

    `models` is a folder of models for it to serve; they are loaded, or have failed and say why in `client.models()`,
    when this returns. The other arguments are those of `Client` but the target. Needs the package qkv-server, with
    models qkv-server[models]; raises ImportError without the former, NotADirectoryError for models that are no folder.

        with qkv.local() as client:
            client.attention(x).output

        with qkv.local(models="models") as client:
            client.embed(["I love bears"], model="minilm")
    """
    try:
        from qkv_server.embedded import EMBEDDED, EmbeddedServer  # noqa: PLC0415 - the client does not need the server
    except ImportError as error:
        raise ImportError("qkv.local() runs a server in this process: pip install qkv-server") from error
    folder = Path(models) if models is not None else None
    if folder is not None and not folder.is_dir():
        raise NotADirectoryError(f"models: {folder} is no folder")
    server = EmbeddedServer.start(replace(EMBEDDED, models=folder))
    try:
        client = LocalClient(server, **arguments)
        while folder is not None and any(model.state == "loading" for model in client.models()):
            time.sleep(LOOK_SECONDS)
    except BaseException:  # an argument that there is not, or Ctrl-C while models are loaded
        server.stop()
        raise
    return client
