"""The main job from end to end: a server of its own, self-attention through the network, and the end of the server.

`make demo` runs it. It needs the packages qkv and qkv-server.
"""

import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence

from qkv.cli import main as qkv


def main(arguments: Sequence[str]) -> int:
    """Start a server on a free port, run `qkv explain` against it, stop it; the exit status of `qkv explain`."""
    command = [sys.executable, "-m", "qkv_server", "serve", "--address", "127.0.0.1:0"]
    started = time.perf_counter()
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:  # noqa: S603 - our own command
        try:
            target = _target(server)
            print(f"A server is up on {target} after {time.perf_counter() - started:.2f} s.\n", flush=True)
            status = qkv.main(["explain", *arguments, "--target", target])
        finally:
            server.send_signal(signal.SIGTERM)
            _, log = server.communicate(timeout=60)
    if status != 0 or server.returncode != 0:
        print(log, file=sys.stderr)
    print(f"\nThe server has stopped with exit status {server.returncode}.")
    return status or server.returncode


def _target(server: "subprocess.Popen[str]") -> str:
    """The address that the server says it serves on; raises RuntimeError with its log if it ends before."""
    log = ""
    for line in server.stderr or ():
        log += line
        if match := re.search(r"serving on (\S+)", line):
            return match[1]
    raise RuntimeError(f"the server did not start:\n{log}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
