"""The command `qkv`: arguments that every subcommand shares, and errors as people read them."""

import argparse
import os
import sys
from collections.abc import Sequence
from importlib.metadata import version

from qkv import TLS, CallError, Client, InvalidRequestError, QkvError
from qkv.cli import (
    attend,
    chat,
    embed,
    encode,
    explain,
    generate,
    health,
    models,
    summarize,
    tokens,
    translate,
    vectors,
)

FAILURE = 1
INTERRUPTED = 130  # as a shell says of a command that Ctrl-C ended …
UNREAD = 141  # … and of one that had nobody left to write to, as in `qkv models | head -1`
SUBCOMMANDS = (attend, explain, health, vectors, models, tokens, embed, encode, generate, chat, summarize, translate)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit status."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        with _client(options) as client:
            status: int = options.run(client, options)
        sys.stdout.flush()  # so that it fails here, if it does
        return status
    except InvalidRequestError as error:
        wrong = "\n  ".join(("", *map(str, error.violations))) if len(error.violations) > 1 else f" {error}"
        print(f"qkv: the request has no answer:{wrong}", file=sys.stderr)
    except CallError as error:
        print(f"qkv: {options.target}: {error.code.name} {error}".rstrip(), file=sys.stderr)
    except BrokenPipeError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())  # for what is left, which Python writes at its end
        return UNREAD
    except (QkvError, OSError, ValueError, TypeError, ImportError) as error:
        print(f"qkv: {error}", file=sys.stderr)
    except KeyboardInterrupt:
        return INTERRUPTED
    return FAILURE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="qkv",
        description="Attention as a service: ask a qkv server from the command line.",
        epilog="Start a server with `qkv-server serve`. `qkv SUBCOMMAND --help` says more of each.",
    )
    parser.add_argument("--version", action="version", version=f"qkv {version('qkv')}")
    subparsers = parser.add_subparsers(title="subcommands", required=True, metavar="SUBCOMMAND")
    for module in SUBCOMMANDS:
        subparser = subparsers.add_parser(
            module.NAME,
            help=module.HELP,
            description=module.__doc__,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.add_arguments(subparser)
        _add_connection(subparser)
        subparser.set_defaults(run=module.run)
    return parser


def _add_connection(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("connection (each has its variable QKV_…, as QKV_TARGET)")
    group.add_argument(
        "--target",
        default=os.environ.get("QKV_TARGET", "localhost:50051"),
        help="host:port or unix:/path (default: %(default)s)",
    )
    group.add_argument(
        "--timeout",
        type=float,
        default=os.environ.get("QKV_TIMEOUT", "60"),
        metavar="SECONDS",
        help="deadline of a call, but for text that comes in pieces (default: %(default)s)",
    )
    group.add_argument(
        "--tls",
        action="store_true",
        default=os.environ.get("QKV_TLS", "") not in ("", "0"),
        help="encrypt, trusting the system's authorities",
    )
    group.add_argument(
        "--ca", default=os.environ.get("QKV_CA"), metavar="PEM", help="encrypt, trusting these authorities"
    )
    group.add_argument(
        "--certificate",
        default=os.environ.get("QKV_CERTIFICATE"),
        metavar="PEM",
        help="our certificate, for mutual TLS",
    )
    group.add_argument(
        "--certificate-key",
        default=os.environ.get("QKV_CERTIFICATE_KEY"),
        metavar="PEM",
        help="the private key of the certificate",
    )
    group.add_argument(
        "--server-name",
        default=os.environ.get("QKV_SERVER_NAME"),
        metavar="NAME",
        help="the name in the server's certificate, if not the target's",
    )


def _client(options: argparse.Namespace) -> Client:
    tls = None
    if options.tls or any((options.ca, options.certificate, options.certificate_key, options.server_name)):
        tls = TLS(
            ca=options.ca, certificate=options.certificate, key=options.certificate_key, server_name=options.server_name
        )
    return Client(options.target, tls=tls, timeout=options.timeout)


if __name__ == "__main__":
    sys.exit(main())
