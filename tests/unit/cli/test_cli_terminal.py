"""The command as a terminal and a shell meet it, in a process of its own: conversations, Ctrl-C, and closed pipes."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest
from model_serving import GO, Endless, stand_in_writer
from serving import SECONDS, ServerProcess

import qkv

from .conftest import Run

INTERRUPTED, UNREAD = 130, 141  # what a shell says of commands that SIGINT and SIGPIPE ended


@contextmanager
def running(target: str, *arguments: str, stdin: int = subprocess.DEVNULL) -> Iterator["subprocess.Popen[str]"]:
    """`qkv` with arguments, for as long as tests wait."""
    command = [sys.executable, "-m", "qkv.cli.main", *arguments, "--target", target]
    environment = {**os.environ, "TERM": "dumb"}
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=stdin, stdout=pipe, stderr=pipe, text=True, env=environment) as process:
        giving_up = threading.Timer(SECONDS, process.kill)
        giving_up.start()
        try:
            yield process
        finally:
            giving_up.cancel()
            process.kill()


@contextmanager
def terminal() -> Iterator[tuple[int, int]]:
    """The end of a terminal that types, and the end that is typed into."""
    pty = pytest.importorskip("pty")
    ends: tuple[int, int] = pty.openpty()
    try:
        yield ends
    finally:
        for end in ends:
            os.close(end)


def read_until(text: str, process: "subprocess.Popen[str]") -> None:
    """Read what a command prints, until a text has come."""
    assert process.stdout is not None
    said = ""
    while not said.endswith(text):
        character = process.stdout.read(1)
        assert character, said
        said += character


def test_talks_on_a_terminal(model_server: ServerProcess, model_client: qkv.Client) -> None:
    """On a terminal `qkv chat` takes message after message, each answer knowing those before, until the input ends."""
    said = [GO, "Why?"]
    options = ("--model", "llama", "--max-tokens", "4")
    with terminal() as (types, typed), running(model_server.address, "chat", *options, stdin=typed) as talking:
        os.write(types, "".join(f"{line}\n" for line in ("", *said)).encode() + b"\x04")
        out, _ = talking.communicate(timeout=SECONDS)
    messages: list[qkv.ChatMessage] = []
    for line in said:
        messages.append({"role": "user", "content": line})
        answer = model_client.chat(messages, model="llama", max_tokens=4).read().text
        assert answer in out
        messages.append({"role": "assistant", "content": answer})
    assert talking.returncode == 0


def test_ctrl_c_ends_an_answer_and_ctrl_d_the_chat() -> None:
    """While a model answers it is the answer that ends, and the chat asks on, until its input ends."""
    endless = Endless()
    with (
        stand_in_writer(endless) as address,
        terminal() as (types, typed),
        running(address, "chat", stdin=typed) as talking,
    ):
        read_until("> ", talking)
        os.write(types, f"{GO}\n".encode())
        read_until("xxx", talking)
        talking.send_signal(signal.SIGINT)
        read_until("\n> ", talking)
        assert endless.given_up.wait(SECONDS)
        os.write(types, b"\x04")
        out, err = talking.communicate(timeout=SECONDS)
    assert (out, err, talking.returncode) == ("\n", "", 0)


def test_ctrl_c_at_the_prompt_ends_the_chat(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no answer to be ended it is the chat that ends, and the prompt of the shell begins a line."""

    def interrupted(_: str) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    monkeypatch.setattr("builtins.input", interrupted)
    ran = run("chat")
    assert (ran.status, ran.out, ran.err) == (INTERRUPTED, "\n", "")


@pytest.mark.parametrize("command", ["generate", "chat"])
def test_ctrl_c_ends_an_answer(command: str) -> None:
    """What has come stays, its line is ended, nothing is complained of, and the server hears that it may stop."""
    endless = Endless()
    with stand_in_writer(endless) as address, running(address, command, GO) as answering:
        read_until("xxx", answering)
        answering.send_signal(signal.SIGINT)
        out, err = answering.communicate(timeout=SECONDS)
        assert endless.given_up.wait(SECONDS)
    assert (out.strip("x"), err, answering.returncode) == ("\n", "", INTERRUPTED)


@pytest.mark.parametrize("command", ["generate", "chat"])
def test_a_reader_who_leaves_ends_an_answer(command: str) -> None:
    """As before `head`: the command ends without a complaint, and the server hears that it may stop."""
    endless = Endless()
    with stand_in_writer(endless) as address, running(address, command, GO) as answering:
        read_until("xxx", answering)
        leave(answering)
        assert endless.given_up.wait(SECONDS)
        assert told(answering) == ("", UNREAD)


@pytest.mark.parametrize("arguments", [("models",), ("tokens", GO, "--model", "bert"), ("explain",)])
def test_a_reader_who_leaves_at_once(arguments: Sequence[str], model_server: ServerProcess) -> None:
    """Also what is printed in one go, when the command is over, has nobody to complain to."""
    with running(model_server.address, *arguments) as printing:
        leave(printing)
        assert told(printing) == ("", UNREAD)


def leave(process: "subprocess.Popen[str]") -> None:
    """Read no more of what a command prints."""
    assert process.stdout is not None
    process.stdout.close()


def told(process: "subprocess.Popen[str]") -> tuple[str, int]:
    """The complaints of a command, and its status."""
    assert process.stderr is not None
    return process.stderr.read(), process.wait(SECONDS)
