"""Other programs, and what is said when one of them fails."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

FAILURE = 1
INTERRUPTED = 130  # as a shell says of a command that Ctrl-C ended
START = float(os.environ.setdefault("COMPOSE_TEST_START", str(time.monotonic())))  # also that of our child


class CommandError(Exception):
    """A program that is missing or ended with a status other than 0; the message has the end of what it said."""


def run(*command: str | Path, stdin: Path | None = None, environment: dict[str, str] | None = None) -> str:
    """What a program prints; raises CommandError if it fails."""
    with (stdin or Path(os.devnull)).open("rb") as source:
        try:
            done = subprocess.run(
                command,
                stdin=source,
                capture_output=True,
                text=True,
                check=False,
                env={**os.environ, **(environment or {})},
            )
        except FileNotFoundError as error:
            raise CommandError(f"{command[0]} is not installed") from error
    if done.returncode:
        end = "\n".join((done.stdout + done.stderr).splitlines()[-40:])
        raise CommandError(f"{' '.join(map(str, command))}: exit status {done.returncode}\n{end}")
    return done.stdout.strip()


def exit_status(main: Callable[[], int]) -> int:
    """What a program of ours ends with; a failed command is told without a traceback."""
    try:
        return main()
    except CommandError as error:
        print(f"compose: {error}", file=sys.stderr)
        return FAILURE
    except KeyboardInterrupt:
        return INTERRUPTED


def say(text: str) -> None:
    """A line of progress, with the seconds since the start."""
    print(f"[{time.monotonic() - START:6.1f} s] {text}", flush=True)
