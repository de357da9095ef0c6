"""Addresses to listen on, checked before a server binds them.

gRPC alone takes a missing port for 443 and a large one modulo 65536, is content with one of the addresses of a name,
removes the unix socket of a server that is running, and does not say why it fails.
"""

import errno
import os
import re
import socket
from contextlib import ExitStack
from pathlib import Path

UNIX = ("unix:", "unix-abstract:")
MAX_PORT = 65535


class AddressError(Exception):
    """An address that cannot be served on: taken, malformed, or not of this machine."""

    def __init__(self, address: str, reason: str) -> None:
        super().__init__(f"cannot serve on {address!r}: {reason}")


def is_unix(address: str) -> bool:
    """Whether an address is a unix socket, which the file system guards."""
    return address.startswith(UNIX)


def check(address: str) -> None:
    """Raise AddressError unless a server can listen on the address."""
    if address.startswith("unix:"):
        _check_unix(address, address.removeprefix("unix:"))
    elif not is_unix(address):
        _check_tcp(address)


def listen(address: str) -> tuple[str, list[socket.socket]]:
    """Sockets that listen on every address of a name, on one port, and the address with that port in place of 0.

    Raises AddressError; a unix socket is none of these.
    """
    _check_tcp(address)
    host, _, port = address.rpartition(":")
    sockets: list[socket.socket] = []
    with ExitStack() as undo:
        for family, _, _, _, name in socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM):
            if _failure_to_bind(family, name) is not None:
                continue  # one that this machine does not have
            bound = sockets[0].getsockname()[1] if sockets else int(port)
            try:
                sockets.append(socket.create_server((name[0], bound, *name[2:]), family=family))
            except OSError as error:  # free, but not on the port that the first one got
                raise AddressError(address, os.strerror(error.errno or errno.EADDRINUSE)) from None
            undo.callback(sockets[-1].close)
        undo.pop_all()
    return f"{host}:{sockets[0].getsockname()[1]}", sockets


def _check_unix(address: str, path: str) -> None:
    if not path or not Path(path).parent.is_dir():
        raise AddressError(address, "expected unix:/path in a directory that exists")
    with socket.socket(socket.AF_UNIX) as trial:
        try:
            trial.connect(path)
        except (FileNotFoundError, ConnectionRefusedError):
            return  # free, or left behind by a server that is gone: gRPC replaces it
        except OSError as error:
            raise AddressError(address, str(error)) from None
    raise AddressError(address, os.strerror(errno.EADDRINUSE))


def _check_tcp(address: str) -> None:
    parts = re.fullmatch(r"(\[[^]]+\]|[^:\[\]]+):([0-9]{1,5})", address)
    if parts is None or int(parts[2]) > MAX_PORT:
        raise AddressError(address, f"expected host:port, a port from 0 to {MAX_PORT}, or unix:/path")
    try:
        found = socket.getaddrinfo(parts[1].strip("[]"), int(parts[2]), type=socket.SOCK_STREAM)
    except OSError as error:
        raise AddressError(address, error.strerror or str(error)) from None
    failures = [failure for family, _, _, _, name in found if (failure := _failure_to_bind(family, name)) is not None]
    if errno.EADDRINUSE in failures:  # also when another address of the name is free: clients could meet either server
        raise AddressError(address, os.strerror(errno.EADDRINUSE))
    if len(failures) == len(found):
        raise AddressError(address, os.strerror(failures[0]))


def _failure_to_bind(family: int, name: tuple[str | int, ...] | tuple[int, bytes]) -> int | None:
    """The error number of binding a socket as gRPC will, or None."""
    try:
        with socket.socket(family, socket.SOCK_STREAM) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind(name)
    except OSError as error:
        return error.errno or errno.EINVAL
    return None
