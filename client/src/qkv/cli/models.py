"""List the models of a server, or describe one.

Examples:
  qkv models
  qkv models minilm

"""

import argparse
import json
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from qkv import Client, Model
from qkv.cli.tables import parameter_count, rounded

NAME = "models"
HELP = "list the models of a server"
COLUMNS = ("name", "state", "architecture", "parameters", "memory", "context", "can")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the subcommand."""
    parser.add_argument("name", nargs="?", metavar="MODEL", help="describe this model (default: list all)")
    parser.add_argument("--json", action="store_true", help="print every fact as JSON")


def run(client: Client, options: argparse.Namespace) -> int:
    """Print a table of all models, or every fact of one."""
    if options.name is None:
        models = client.models()
        print(json.dumps([_facts(model) for model in models], ensure_ascii=False) if options.json else _table(models))
    else:
        facts = _facts(client.model(options.name))
        print(json.dumps(facts, ensure_ascii=False) if options.json else _lines(facts))
    return 0


def _facts(model: Model) -> dict[str, Any]:
    """What is known of a model, as JSON has it."""
    return asdict(model) | {"weight_type": model.weight_type.name if model.weight_type is not None else None}


def _table(models: list[Model]) -> str:
    if not models:
        return "The server has no models. It serves those in the folder of `qkv-server serve --models FOLDER`."
    rows = [COLUMNS, *map(_row, models)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(COLUMNS))]
    return "\n".join(
        "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def _row(model: Model) -> tuple[str, ...]:
    can = ", ".join(model.tasks) + (f" ({_pairs(model.languages)})" if model.languages else "")
    return (
        model.name,
        model.state,
        model.architecture,
        parameter_count(model.parameters),
        rounded(model.weight_bytes, "B"),
        str(model.context_tokens or ""),
        "; ".join(filter(None, (can, model.reason))),
    )


def _pairs(languages: Iterable[tuple[str, str]]) -> str:
    return ", ".join(f"{source} to {target}" for source, target in languages)


def _lines(facts: dict[str, Any]) -> str:
    """A fact on each line; what is not known, or there is none of, is left out."""
    width = max(map(len, facts))
    lists = {name: ", ".join(map(str, value)) for name, value in facts.items() if isinstance(value, tuple)}
    lists["languages"] = _pairs(facts["languages"])
    return "\n".join(f"{name:<{width}}  {value}" for name, value in (facts | lists).items() if value not in ("", None))
