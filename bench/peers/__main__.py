"""One end of a system: `python -m peers NAME serve PORT` until SIGINT, or `… call PORT` until the input ends."""

import importlib
import json
import sys
from contextlib import suppress

from peers.stopwatch import Stopwatch


def main() -> None:
    """Be the end that the command line asks for."""
    name, role, port = sys.argv[1:]
    system = importlib.import_module(f"peers.{name}")
    if role == "serve":
        with suppress(KeyboardInterrupt):
            system.serve(int(port))
    else:
        _answer_rounds(Stopwatch(system.connect(int(port))))


def _answer_rounds(stopwatch: Stopwatch) -> None:
    """Each line in is a shape in JSON, each line out the median seconds of a round of calls; the first says ready."""
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        print(json.dumps(stopwatch.median(tuple(json.loads(line)))), flush=True)


if __name__ == "__main__":
    main()
