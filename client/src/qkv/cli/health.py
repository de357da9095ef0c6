"""Ask whether a server takes calls. The exit status is 0 when it does, for health checks of containers.

Examples:
  qkv health
  qkv health qkv.v1.ModelService/minilm

"""

import argparse

import grpc

from qkv import CallError, Client, Health

NAME = "health"
HELP = "ask whether a server takes calls"

SERVING, NOT_SERVING = 0, 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the subcommand."""
    parser.add_argument(
        "service",
        nargs="?",
        default="",
        help="a service, as qkv.v1.AttentionService; a model, as qkv.v1.ModelService/minilm; or `liveness`, that the "
        "process answers at all, also while it drains (default: the server as a whole)",
    )


def run(client: Client, options: argparse.Namespace) -> int:
    """Print the health and return 0 if it is SERVING."""
    try:
        health = client.health(options.service)
    except CallError as error:
        if error.code is not grpc.StatusCode.NOT_FOUND:
            raise
        raise ValueError(f"{client.target}: this server has no service {options.service!r}") from error
    print(f"{client.target}: {options.service or 'server'} is {health.name}")
    return SERVING if health is Health.SERVING else NOT_SERVING
