"""The command `qkv-server`."""

import asyncio
import logging
import re
import sys
from pathlib import Path

import click

from qkv_server import command_models
from qkv_server.operations.addresses import AddressError
from qkv_server.operations.server import MissingExtraError, run
from qkv_server.operations.settings import DEFAULT_ADDRESS, Settings, TLSFiles
from qkv_server.service.limits import Limits, ModelLimits

DEFAULTS = Settings()
FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


def _origins(_: click.Context, __: click.Parameter, origins: tuple[str, ...]) -> tuple[str, ...]:
    """Origins as browsers send them, which are compared letter by letter."""
    for origin in origins:
        if not re.fullmatch(r"\*|https?://[^/\s]+", origin):
            raise click.BadParameter(f"{origin!r} is no origin, expected one as https://example.org, or *")
    return origins


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="qkv-server")
def main() -> None:
    """qkv: attention as a service."""


main.add_command(command_models.models)


@main.command(context_settings={"auto_envvar_prefix": "QKV", "show_default": True})
@click.option(
    "--address",
    "addresses",
    multiple=True,
    default=[DEFAULT_ADDRESS],
    envvar="QKV_ADDRESS",
    show_envvar=True,
    help="Where to listen: host:port (port 0 takes a free one) or unix:/path. Repeat it for several, or part them by "
    "spaces in the variable.",
)
@click.option(
    "--web-address",
    show_envvar=True,
    help="host:port to serve HTTP on as well, for browsers and curl: Connect, gRPC-Web, JSON, /docs.",
)
@click.option(
    "--cors-origin",
    "cors_origins",
    multiple=True,
    callback=_origins,
    envvar="QKV_CORS_ORIGIN",
    show_envvar=True,
    help="Origin of pages that may call over HTTP: https://example.org, or * for any. Repeat it for several, or part "
    "them by spaces in the variable.",
)
@click.option(
    "--workers", type=click.IntRange(1), default=DEFAULTS.workers, show_envvar=True, help="Threads of arithmetic."
)
@click.option(
    "--queue",
    type=click.IntRange(0),
    default=DEFAULTS.queue,
    show_envvar=True,
    help="Calls that may wait for a worker; more are answered UNAVAILABLE with a time to try again.",
)
@click.option(
    "--max-message-bytes",
    type=click.IntRange(1, 2**31 - 1),  # what gRPC can count
    default=DEFAULTS.limits.message_bytes,
    show_envvar=True,
    help="The largest request, and the largest answer.",
)
@click.option(
    "--max-working-bytes",
    type=click.IntRange(1),
    default=DEFAULTS.limits.working_bytes,
    show_envvar=True,
    help="The most memory that computing one call may take.",
)
@click.option(
    "--models",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    show_envvar=True,
    help="Folder of whole models to serve: each a folder, or a file. They come and go with what is there.",
)
@click.option(
    "--max-model-bytes",
    type=click.IntRange(1),
    default=DEFAULTS.model_limits.weight_bytes,
    show_envvar=True,
    help="The most memory that the weights of all models may take.",
)
@click.option(
    "--streams",
    type=click.IntRange(1),
    default=DEFAULTS.model_limits.streams,
    show_envvar=True,
    help="Answers that a model works on at once, as far as their memory allows.",
)
@click.option(
    "--max-stream-bytes",
    type=click.IntRange(1),
    default=DEFAULTS.model_limits.stream_bytes,
    show_envvar=True,
    help="The most memory that the answers which one model works on may take for what they remember. One begins when "
    "there is room for it at its longest: set max_tokens in requests to have more of them at once.",
)
@click.option(
    "--stream-queue",
    type=click.IntRange(0),
    default=DEFAULTS.model_limits.stream_queue,
    show_envvar=True,
    help="Answers that may wait for that, for each model; more are answered UNAVAILABLE with a time to try again.",
)
@click.option(
    "--max-answer-tokens",
    type=click.IntRange(1),
    default=DEFAULTS.model_limits.answer_tokens,
    show_envvar=True,
    help="The most tokens of an answer.",
)
@click.option(
    "--max-cache-bytes",
    type=click.IntRange(0),
    default=DEFAULTS.model_limits.cache_bytes,
    show_envvar=True,
    help="The most memory in which each model keeps what it has computed of earlier prompts, for later ones.",
)
@click.option("--tls-certificate", type=FILE, show_envvar=True, help="PEM certificate chain: serve TCP with TLS.")
@click.option("--tls-key", type=FILE, show_envvar=True, help="PEM private key of the certificate.")
@click.option(
    "--tls-client-ca", type=FILE, show_envvar=True, help="PEM authorities of client certificates: mutual TLS."
)
@click.option(
    "--drain-seconds",
    type=click.FloatRange(0),
    default=DEFAULTS.drain_seconds,
    show_envvar=True,
    help="On SIGTERM, how long to serve on after health says NOT_SERVING.",
)
@click.option(
    "--grace-seconds",
    type=click.FloatRange(0),
    default=DEFAULTS.grace_seconds,
    show_envvar=True,
    help="After that, how long the calls under way may take to finish.",
)
@click.option(
    "--reflection/--no-reflection",
    default=DEFAULTS.reflection,
    show_envvar=True,
    help="Describe the services to tools.",
)
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"], case_sensitive=False),
    default="info",
    show_envvar=True,
    help="How much to say on standard error.",
)
def serve(
    addresses: tuple[str, ...],
    web_address: str | None,
    cors_origins: tuple[str, ...],
    workers: int,
    queue: int,
    max_message_bytes: int,
    max_working_bytes: int,
    models: Path | None,
    max_model_bytes: int,
    streams: int,
    max_stream_bytes: int,
    stream_queue: int,
    max_answer_tokens: int,
    max_cache_bytes: int,
    tls_certificate: Path | None,
    tls_key: Path | None,
    tls_client_ca: Path | None,
    drain_seconds: float,
    grace_seconds: float,
    reflection: bool,
    log_level: str,
) -> None:
    """Serve attention and models over gRPC, and over HTTP if asked to, until SIGTERM."""
    _log(log_level.upper())
    settings = Settings(
        addresses=addresses,
        web_address=web_address,
        cors_origins=cors_origins,
        workers=workers,
        queue=queue,
        limits=Limits(max_message_bytes, max_working_bytes),
        models=models,
        model_limits=ModelLimits(
            weight_bytes=max_model_bytes,
            streams=streams,
            stream_bytes=max_stream_bytes,
            stream_queue=stream_queue,
            answer_tokens=max_answer_tokens,
            cache_bytes=max_cache_bytes,
        ),
        tls=_tls(tls_certificate, tls_key, tls_client_ca),
        drain_seconds=drain_seconds,
        grace_seconds=grace_seconds,
        reflection=reflection,
    )
    try:
        asyncio.run(run(settings))
    except (AddressError, MissingExtraError, OSError) as error:
        click.echo(f"qkv-server: {error}", err=True)
        sys.exit(1)


def _log(level: str) -> None:
    """Log on standard error, of gRPC and asyncio no details: they tell of each turn of the event loop."""
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s", level=level)
    for library in ("grpc", "asyncio"):
        logging.getLogger(library).setLevel(max(logging.INFO, logging.getLogger().level))


def _tls(certificate: Path | None, key: Path | None, client_ca: Path | None) -> TLSFiles | None:
    if certificate is None and key is None and client_ca is None:
        return None
    if certificate is None or key is None:
        raise click.UsageError("--tls-certificate and --tls-key are needed together, also for --tls-client-ca")
    return TLSFiles(certificate=certificate, key=key, client_ca=client_ca)
