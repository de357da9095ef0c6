"""Every flag of `qkv-server serve` has a variable QKV_…, and both do the same."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from qkv_server import command
from qkv_server.operations.settings import Settings, TLSFiles
from qkv_server.service.limits import Limits, ModelLimits


@dataclass(frozen=True)
class Twins:
    """A flag as it is written, what its variable holds for the same, and the settings that both make."""

    flag: list[str]
    variable: str
    settings: dict[str, Any]


SETTINGS = {
    "addresses": Twins(
        ["--address", "localhost:1", "--address", "unix:/a"],
        "localhost:1 unix:/a",
        {"addresses": ("localhost:1", "unix:/a")},
    ),
    "web_address": Twins(["--web-address", "localhost:3"], "localhost:3", {"web_address": "localhost:3"}),
    "cors_origins": Twins(
        ["--cors-origin", "https://a.test", "--cors-origin", "*"],
        "https://a.test *",
        {"cors_origins": ("https://a.test", "*")},
    ),
    "workers": Twins(["--workers", "7"], "7", {"workers": 7}),
    "queue": Twins(["--queue", "0"], "0", {"queue": 0}),
    "max_message_bytes": Twins(["--max-message-bytes", "1000"], "1000", {"limits": Limits(message_bytes=1000)}),
    "max_working_bytes": Twins(["--max-working-bytes", "2000"], "2000", {"limits": Limits(working_bytes=2000)}),
    "models": Twins(["--models", "."], ".", {"models": Path()}),
    "max_model_bytes": Twins(["--max-model-bytes", "3000"], "3000", {"model_limits": ModelLimits(weight_bytes=3000)}),
    "streams": Twins(["--streams", "3"], "3", {"model_limits": ModelLimits(streams=3)}),
    "max_stream_bytes": Twins(["--max-stream-bytes", "4000"], "4000", {"model_limits": ModelLimits(stream_bytes=4000)}),
    "stream_queue": Twins(["--stream-queue", "0"], "0", {"model_limits": ModelLimits(stream_queue=0)}),
    "max_answer_tokens": Twins(["--max-answer-tokens", "9"], "9", {"model_limits": ModelLimits(answer_tokens=9)}),
    "max_cache_bytes": Twins(["--max-cache-bytes", "0"], "0", {"model_limits": ModelLimits(cache_bytes=0)}),
    "drain_seconds": Twins(["--drain-seconds", "2.5"], "2.5", {"drain_seconds": 2.5}),
    "grace_seconds": Twins(["--grace-seconds", "0"], "0", {"grace_seconds": 0.0}),
    "reflection": Twins(["--no-reflection"], "false", {"reflection": False}),
}
TLS = ("tls_certificate", "tls_key", "tls_client_ca")
LOG_LEVEL = "log_level"


def options() -> dict[str, click.Option]:
    return {str(option.name): option for option in command.serve.params if isinstance(option, click.Option)}


def variable_of(name: str) -> str:
    (flag, *_) = [flag for flag in options()[name].opts if flag.startswith("--")]
    return f"QKV_{flag.removeprefix('--').replace('-', '_').upper()}"


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The settings with which a command starts a server, and its level of logging, instead of a server."""
    got: dict[str, Any] = {}

    async def run(settings: Settings) -> None:
        got["settings"] = settings

    def basic_config(**arguments: object) -> None:
        got["level"] = arguments["level"]

    monkeypatch.setattr(command, "run", run)
    monkeypatch.setattr(logging, "basicConfig", basic_config)
    return got


def serve(arguments: list[str], variables: dict[str, str]) -> None:
    result = CliRunner().invoke(command.main, ["serve", *arguments], env=variables)
    assert result.exit_code == 0, result.output


def test_every_flag_is_tested_here() -> None:
    """No flag of the command is left out of these tests."""
    assert set(options()) == {*SETTINGS, *TLS, LOG_LEVEL}


def test_help_shows_every_variable() -> None:
    """--help says the variable of every flag."""
    shown = CliRunner().invoke(command.main, ["serve", "--help"]).output
    assert [name for name in options() if variable_of(name) not in shown] == []


def test_without_flags_the_settings_are_the_defaults(started: dict[str, Any]) -> None:
    """The command adds no defaults of its own to those of Settings."""
    serve([], {})
    assert started["settings"] == Settings()
    assert started["level"] == "INFO"


@pytest.mark.parametrize("name", SETTINGS)
def test_flag_and_variable_make_the_same_setting(name: str, started: dict[str, Any]) -> None:
    """A flag and its variable change one setting, both to the same value, and nothing else."""
    twins = SETTINGS[name]
    expected = Settings(**twins.settings)
    assert expected != Settings()
    serve(twins.flag, {})
    assert started.pop("settings") == expected
    serve([], {variable_of(name): twins.variable})
    assert started.pop("settings") == expected


def test_flag_beats_variable(started: dict[str, Any]) -> None:
    """Where both are given, what was typed counts."""
    serve(["--queue", "3", "--address", "localhost:1"], {"QKV_QUEUE": "4", "QKV_ADDRESS": "localhost:2"})
    assert started["settings"] == Settings(queue=3, addresses=("localhost:1",))


def test_tls_flags_and_variables_make_the_same_setting(started: dict[str, Any], tmp_path: Path) -> None:
    """The three files of TLS come from flags or from variables."""
    files = {name: tmp_path / name for name in TLS}
    for file in files.values():
        file.touch()
    certificate, key, client_ca = files.values()
    expected = Settings(tls=TLSFiles(certificate=certificate, key=key, client_ca=client_ca))
    flags = [text for name in TLS for text in (f"--{name.replace('_', '-')}", str(files[name]))]
    serve(flags, {})
    assert started.pop("settings") == expected
    serve([], {variable_of(name): str(files[name]) for name in TLS})
    assert started.pop("settings") == expected


def test_log_level_flag_and_variable_are_the_same(started: dict[str, Any]) -> None:
    """The level of logging comes from its flag or from its variable."""
    serve(["--log-level", "error"], {})
    assert started.pop("level") == "ERROR"
    serve([], {variable_of(LOG_LEVEL): "Debug"})
    assert started.pop("level") == "DEBUG"


@pytest.mark.parametrize(
    ("flag", "value"),
    [
        ("--cors-origin", "https://example.org/"),
        ("--cors-origin", "example.org"),
        ("--workers", "0"),
        ("--queue", "-1"),
        ("--max-message-bytes", "0"),
        ("--max-message-bytes", str(2**31)),  # more than gRPC can count
        ("--max-working-bytes", "much"),
        ("--drain-seconds", "-1"),
        ("--grace-seconds", "-0.5"),
        ("--log-level", "loud"),
        ("--models", "/nowhere"),
        ("--max-model-bytes", "0"),
        ("--streams", "0"),
        ("--stream-queue", "-1"),
        ("--max-answer-tokens", "0"),
        ("--max-cache-bytes", "-1"),
        ("--tls-certificate", "/nowhere/certificate.pem"),
        ("--tls-key", "/nowhere/key.pem"),
        ("--tls-client-ca", "/nowhere/authorities.pem"),
    ],
)
def test_a_value_that_makes_no_sense_is_named(flag: str, value: str, started: dict[str, Any]) -> None:
    """A setting that cannot be is refused with its flag and its value, before anything starts."""
    result = CliRunner().invoke(command.main, ["serve", flag, value])
    assert result.exit_code == 2
    assert f"Error: Invalid value for '{flag}'" in result.stderr
    assert value in result.stderr
    assert not started.keys() & {"settings"}


@pytest.mark.parametrize("flag", ["--tls-certificate", "--tls-key", "--tls-client-ca"])
def test_half_of_tls_is_refused(flag: str, started: dict[str, Any], tmp_path: Path) -> None:
    """A certificate without a key, or the other way round, is refused rather than served without TLS."""
    file = tmp_path / "file.pem"
    file.touch()
    result = CliRunner().invoke(command.main, ["serve", flag, str(file)])
    assert result.exit_code == 2
    assert "--tls-certificate and --tls-key are needed together" in result.stderr
    assert not started.keys() & {"settings"}
