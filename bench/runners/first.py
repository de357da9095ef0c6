"""The first embedding of a process: `python -m runners.first NAME MODELS TEXT` says when it is there."""

import importlib
import json
import sys


def main() -> None:
    """Import, read the model, embed one text, say so."""
    answers, sys.stdout = sys.stdout, sys.stderr
    name, models, text = sys.argv[1:]
    importlib.import_module(f"runners.{name}").Runner(json.loads(models)).embed([text], 1)
    print("ready", file=answers, flush=True)


if __name__ == "__main__":
    main()
