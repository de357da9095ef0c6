"""The command line's face: help, version, and the connection by flags and by variables."""

import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from serving import ServerProcess

import qkv
from qkv.cli import main as command_line

from .conftest import Run

CONNECTION = {"--target", "--timeout", "--tls", "--ca", "--certificate", "--certificate-key", "--server-name"}
SAMPLING = {"--temperature", "--top-k", "--top-p", "--min-p", "--repetition-penalty", "--seed"}
ANSWERS = {"--model", "--json", *SAMPLING}
FLAGS = {
    "health": set(),
    "vectors": {"--select", "--dtype", "--seed", "--sizes", "--list", "--force"},
    "explain": {"--embeddings", "--heads", "--plot", "--model", "--layer", "--head"},
    "models": {"--json"},
    "tokens": {"--file", "--model", "--decode", "--special-tokens", "--no-special-tokens", "--json"},
    "encode": {
        *(
            "--model",
            "--hidden-states",
            "--attentions",
            "--heads",
            "--labels",
            "--refuse-long-text",
            "--save",
            "--json",
        ),
    },
    "embed": {
        *("--file", "--model", "--pooling", "--normalize", "--no-normalize", "--refuse-long-texts", "--save", "--json"),
    },
    "generate": {*ANSWERS, "--max-tokens", "--stop", "--top-log-probabilities"},
    "chat": {*ANSWERS, "--max-tokens", "--system"},
    "summarize": {*ANSWERS, "--max-tokens"},
    "translate": {*ANSWERS, "--from", "--to"},
    "attend": {
        *(f"--{name}" for name in ("query", "key", "value", "mask", "past-key", "past-value", "dtype", "save")),
        *(f"--{name}-{kind}" for name in ("query", "key", "value", "output") for kind in ("weight", "bias")),
        *("--extra-key", "--extra-value", "--add-zero-attention", "--heads", "--kv-heads", "--axis-order"),
        *("--causal", "--alignment", "--window", "--mask-polarity", "--key-lengths", "--query-lengths"),
        *("--empty-row", "--scale", "--softcap", "--softmax-axis", "--softmax-precision", "--outputs"),
        *("--path", "--log-base", "--chunk-size", "--cumulative-query-lengths", "--cumulative-key-lengths"),
        *("--block-map", "--block-size", "--sinks", "--alibi", "--alibi-slopes", "--rotary"),
        *(f"--relative-bias-{name}" for name in ("table", "bidirectional", "max-distance")),
    },
}


@pytest.mark.parametrize("subcommand", FLAGS)
def test_help_of_a_subcommand_says_its_options(subcommand: str, run: Run) -> None:
    """--help has every option of the subcommand, those of the connection, and no other."""
    ran = run(subcommand, "--help")
    assert (ran.status, ran.err) == (0, "")
    flags = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", ran.out))
    assert flags == FLAGS[subcommand] | CONNECTION | {"--help"}


def test_help_says_the_choices(run: Run) -> None:
    """--help of attend has every quantity and every named choice of the contract."""
    shown = run("attend", "--help").out
    for choice in ("top_left", "bottom_right", "zero", "nan", "mean_value", "true_hides", "queries", "sequence_first"):
        assert choice in shown
    for quantity in ("capped_scores", "averaged_weights", "log_sum_exp", "present_value"):
        assert quantity in shown


def test_help_says_the_subcommands(run: Run) -> None:
    """--help has every subcommand, and how to start a server."""
    shown = run("--help").out
    assert all(re.search(rf"\n    {subcommand}\s", shown) for subcommand in FLAGS)
    assert "qkv-server serve" in shown


def test_the_installed_command_says_its_version() -> None:
    """The command `qkv` is installed and runs in a process of its own."""
    command = Path(sys.executable).parent / "qkv"
    said = subprocess.run([command, "--version"], capture_output=True, text=True, check=True)
    assert re.fullmatch(r"qkv \d+\.\d+\.\d+\n", said.stdout)


def test_python_m_is_the_same_command() -> None:
    """`python -m qkv.cli.main` is the command too, where no scripts are installed."""
    command = [sys.executable, "-m", "qkv.cli.main", "--version"]
    said = subprocess.run(command, capture_output=True, text=True, check=True)
    assert re.fullmatch(r"qkv \d+\.\d+\.\d+\n", said.stdout)


@pytest.mark.parametrize(
    ("flags", "variables", "expected"),
    [
        ([], {}, {"target": "localhost:50051", "tls": None, "timeout": 60.0}),
        (["--target", "a:1"], {"QKV_TARGET": "a:1"}, {"target": "a:1"}),
        (["--timeout", "2.5"], {"QKV_TIMEOUT": "2.5"}, {"timeout": 2.5}),
        (["--tls"], {"QKV_TLS": "1"}, {"tls": qkv.TLS()}),
        (["--ca", "a.pem"], {"QKV_CA": "a.pem"}, {"tls": qkv.TLS(ca="a.pem")}),
        (["--certificate", "a.pem"], {"QKV_CERTIFICATE": "a.pem"}, {"tls": qkv.TLS(certificate="a.pem")}),
        (["--certificate-key", "a.pem"], {"QKV_CERTIFICATE_KEY": "a.pem"}, {"tls": qkv.TLS(key="a.pem")}),
        (["--server-name", "a"], {"QKV_SERVER_NAME": "a"}, {"tls": qkv.TLS(server_name="a")}),
    ],
)
def test_the_connection_by_flags_and_by_variables(
    flags: Sequence[str], variables: dict[str, str], expected: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each flag of the connection and its variable make the same client; whatever speaks of TLS asks for it."""
    made = []

    def client(target: str, **arguments: Any) -> Any:
        made.append({"target": target, **arguments})
        raise ValueError("no connection is made here")

    monkeypatch.setattr(command_line, "Client", client)
    for name in ("TARGET", "TIMEOUT", "TLS", "CA", "CERTIFICATE", "CERTIFICATE_KEY", "SERVER_NAME"):
        monkeypatch.delenv(f"QKV_{name}", raising=False)
    command_line.main(["health", *flags])
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    command_line.main(["health"])
    assert made == [{"target": "localhost:50051", "tls": None, "timeout": 60.0, **expected}] * 2


def test_a_flag_beats_its_variable(run: Run, server: ServerProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where both are given, what was typed counts."""
    monkeypatch.setenv("QKV_TARGET", "nowhere")
    assert run("health", "--target", server.address).status == 0
