"""The command `qkv-server`, also as `python -m qkv_server`."""

import signal
import sys


def main() -> None:
    """Run the command, ready to end from the start."""
    # The kernel drops a SIGTERM that process 1 of a container does not handle, and importing takes a while.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    from qkv_server.command import main as command  # noqa: PLC0415 - after the handler

    command(prog_name="qkv-server")


if __name__ == "__main__":
    main()
