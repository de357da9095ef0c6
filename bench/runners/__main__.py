"""One system: `python -m runners NAME MODELS` (a JSON object of paths by name) until the input ends.

Each line in is [method, arguments …] in JSON, each line out what the method answers; the first line says ready.
"""

import importlib
import json
import sys


def main() -> None:
    """Answer rounds. What the libraries print goes to stderr, since answers go to stdout."""
    answers, sys.stdout = sys.stdout, sys.stderr
    name, models = sys.argv[1:]
    runner = importlib.import_module(f"runners.{name}").Runner(json.loads(models))
    print(json.dumps("ready"), file=answers, flush=True)
    for line in sys.stdin:
        method, *arguments = json.loads(line)
        print(json.dumps(getattr(runner, method)(*arguments)), file=answers, flush=True)


if __name__ == "__main__":
    main()
