"""Namespaces for an engine and all that it starts: what is mounted, bound or run in them ends with them."""

import subprocess
import sys
import time
from pathlib import Path

CGROUP = "qkv-compose-test"  # the one thing that outlives the namespaces
EMPTY_SECONDS = 30  # until processes that were killed have left their cgroup

# The network has no device but loopback. The first process is an init, which buries orphans; it ends with us, however
# we end, and the kernel ends all the others with it.
NAMESPACES = (
    *("setpriv", "--pdeathsig=KILL"),
    *("unshare", "--net", "--mount", "--pid", "--ipc", "--uts", "--mount-proc", "--fork", "--kill-child"),
    *("docker-init", "--"),
)


def run_isolated(module: str, *arguments: str) -> int:
    """Run a module of ours in namespaces of its own; its exit status."""
    try:
        return subprocess.call((*NAMESPACES, sys.executable, "-m", module, *arguments))
    finally:
        _remove_cgroups()


def _remove_cgroups() -> None:
    """Remove the cgroups of the engine, in one hierarchy (version 2) or in one for each controller (version 1)."""
    top = Path("/sys/fs/cgroup")
    deadline = time.monotonic() + EMPTY_SECONDS
    for group in (top / CGROUP, *top.glob(f"*/{CGROUP}")):
        while group.exists():
            try:
                for inner in sorted(group.rglob("*/"), reverse=True):
                    inner.rmdir()
                group.rmdir()
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)
