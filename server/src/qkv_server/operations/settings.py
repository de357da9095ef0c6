"""Every setting of the server, in one place. The command line fills them; each flag has a QKV_… twin."""

import os
from dataclasses import dataclass, field
from pathlib import Path

from qkv_server.service.limits import Limits, ModelLimits

DEFAULT_ADDRESS = "localhost:50051"


def usable_cores() -> int:
    """The number of cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True, slots=True, kw_only=True)
class TLSFiles:
    """PEM files of transport security; `client_ca` makes it mutual."""

    certificate: Path
    key: Path
    client_ca: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a server is started with."""

    addresses: tuple[str, ...] = (DEFAULT_ADDRESS,)  # host:port (port 0: any free one), or unix:/path
    web_address: str | None = None  # host:port of HTTP, for browsers and curl; None: not served
    cors_origins: tuple[str, ...] = ()  # of pages that may call over HTTP; "*": of any
    workers: int = field(default_factory=usable_cores)  # threads of arithmetic
    queue: int = 64  # calls that may wait for a worker
    limits: Limits = field(default_factory=Limits)
    models: Path | None = None  # a folder of whole models; None: there are none
    model_limits: ModelLimits = field(default_factory=ModelLimits)
    tls: TLSFiles | None = None  # for TCP addresses; unix sockets are guarded by the file system
    drain_seconds: float = 0.0  # between saying NOT_SERVING and refusing new calls
    grace_seconds: float = 30.0  # for the calls under way, after that
    reflection: bool = True
