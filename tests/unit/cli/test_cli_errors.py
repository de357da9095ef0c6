"""What goes wrong is said in one line on standard error, by the name of what is wrong; the exit status is 1."""

import re
import socket
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

import qkv

from .conftest import Run, one_line

QUERY = ("--query", "1 2; 3 4")


@pytest.mark.parametrize(
    ("arguments", "named", "reason"),
    [
        (["--query", "one two"], "--query: one two: is no array", "could not convert string to float: 'one'"),
        (["--query", "1 2; 3"], "--query: 1 2; 3: is no array", "FILE.npy"),
        (["--query", "[[1, 2], [3]]"], "--query: [[1, 2], [3]]: is no array", "typed"),
        (["--query", '[["a"]]'], '--query: [["a"]]: is no array', "expected nested lists of numbers"),
        (["--query", "[[1,"], "--query: [[1,: is no array", "line 1"),
        (["--query", '{"a": 1}'], '--query: {"a": 1}: is no array', "expected nested lists of numbers"),
        (["--query", "weights.pt"], "--query: weights.pt: is no array", "FILE.safetensors"),
        ([*QUERY, "--past-key", "none.npy"], "--past-key: none.npy: ", "No such file"),
        ([*QUERY, "--query-weight", "x"], "--query-weight: x: ", "is no array"),
        ([*QUERY, "--window", "1", "many"], "--window: ", "'many' is no whole number, nor `none`"),
        (
            [*QUERY, "--block-size", "1", "2", "3"],
            "block_size: ",
            "is [1, 2, 3], expected a number, or (queries, keys)",
        ),
        ([*QUERY, "--rotary", "base"], "--rotary: is no JSON", "line 1"),
        ([*QUERY, "--rotary", "[1]"], "--rotary: expected an object", '{"base": 500000}'),
        ([*QUERY, "--rotary", '{"bass": 1}'], "unknown entry of rotary bass; expected one of base, ", "yarn"),
        ([*QUERY, "--rotary", '{"yarn": 4}'], "rotary.yarn: is 4, expected a dictionary of factor, ", "truncate"),
        ([*QUERY, "--rotary", '{"base": "much"}'], "rotary.base: ", ""),
        ([*QUERY, "--rotary", '{"query_positions": ["a"]}'], "rotary.query_positions: type str", "int64"),
        ([*QUERY, "--heads", "0"], "heads: ", "is 0, expected at least 1"),
        ([*QUERY, "--axis-order", "heads_first", "--query-bias", "1"], "--axis-order: ", "rank 4"),
        ([*QUERY, "--save", "answer.txt"], "--save: answer.txt: ", "expected a name ending in one of .npy"),
        ([*QUERY, "--save", "a.npy", "--outputs", "weights"], "--save: a.npy: ", ".json, for output, weights"),
    ],
)
def test_an_argument_that_makes_no_sense_is_named(arguments: Sequence[str], named: str, reason: str, run: Run) -> None:
    """An argument that cannot be read is named, with what was expected, before the server is asked."""
    line = one_line(run("attend", *arguments))
    assert line.startswith(named)
    assert reason in line


def test_files_that_are_something_else_are_named(run: Run, tmp_path: Path) -> None:
    """Whatever its reader says of a file with the wrong content, it is one line with the option and the file."""
    for suffix in (".npy", ".npz", ".safetensors", ".json", ".csv"):
        for content in (b"", b"nonsense\n", b"PK\x03\x04nonsense"):
            file = tmp_path / f"bad{suffix}"
            file.write_bytes(content)
            assert one_line(run("attend", "--query", file)).startswith(f"--query: {file}: ")
    np.save(tmp_path / "array.npy", np.ones(2))
    (tmp_path / "array.npy").rename(tmp_path / "array.npz")
    assert one_line(run("attend", "--query", tmp_path / "array.npz")).startswith(f"--query: {tmp_path}/array.npz: ")


def test_files_of_objects_are_not_loaded(run: Run, tmp_path: Path) -> None:
    """A pickle in a .npy file, which could run anything, is refused."""
    np.save(tmp_path / "objects.npy", np.array([{}], dtype=object), allow_pickle=True)
    assert "allow_pickle" in one_line(run("attend", "--query", tmp_path / "objects.npy"))


def test_the_names_in_a_file_are_told(run: Run, tmp_path: Path) -> None:
    """Of a file with several arrays and none of the option's name, the line says which it has and how to choose."""
    file = tmp_path / "several.npz"
    np.savez(file, a=np.ones(2), b=np.ones(2))
    assert one_line(run("attend", "--query", file)) == (
        f"--query: {file}: has the arrays a, b; expected FILE:NAME with one of them"
    )
    assert "has the arrays a, b" in one_line(run("attend", "--query", f"{file}:c"))
    np.save(tmp_path / "one.npy", np.ones(2))
    assert "without a name" in one_line(run("attend", "--query", f"{tmp_path}/one.npy:a"))


def test_a_type_that_cannot_be_sent_is_named(run: Run, tmp_path: Path) -> None:
    """An array of a type that the contract has not is refused with those that it has."""
    safetensors.numpy.save_file({"query": np.ones((2, 2), np.uint32)}, tmp_path / "x.safetensors")
    line = one_line(run("attend", "--query", tmp_path / "x.safetensors"))
    assert line.startswith("query: type uint32 cannot be sent, expected one of float64, ")


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".safetensors", ".json", ".csv"])
def test_a_folder_that_is_not_there_is_named(suffix: str, run: Run, tmp_path: Path) -> None:
    """An answer that cannot be saved says by which option, where, and why, whatever library writes the file."""
    file = tmp_path / "none" / f"answer{suffix}"
    line = one_line(run("attend", *QUERY, "--save", file))
    assert line.startswith(f"--save: {file}: ")
    assert re.search("No such file|not found", line)


def test_a_wrong_field_is_one_line(run: Run) -> None:
    """Where the server finds one field wrong, the line has its name and what was expected."""
    line = one_line(run("attend", *QUERY, "--key", "1 2 3"))
    assert line.startswith("the request has no answer: key: ")


def test_several_wrong_fields_are_a_line_each(run: Run) -> None:
    """Where the server finds several fields wrong, each has its line."""
    ran = run("attend", *QUERY, "--softcap", "-1", "--window", "-1", "none", "--alignment", "top_left")
    assert (ran.status, ran.out) == (1, "")
    head, *lines = ran.err.splitlines()
    assert head == "qkv: the request has no answer:"
    assert sorted(line.partition(":")[0] for line in lines) == ["  scoring.softcap", "  visibility.window_left"]


@pytest.mark.parametrize("command", [["health"], ["explain"], ["attend", *QUERY]])
def test_a_server_that_is_not_there(command: Sequence[str], run: Run, tmp_path: Path) -> None:
    """A target without a server is named, as UNAVAILABLE."""
    target = f"unix:{tmp_path}/nobody.sock"
    assert one_line(run(*command, "--target", target)).startswith(f"{target}: UNAVAILABLE ")


def test_a_target_that_makes_no_sense(run: Run) -> None:
    """So is a target that is no address."""
    assert one_line(run("health", "--target", "localhost:port")).startswith("localhost:port: UNAVAILABLE ")


def test_a_deadline_that_passed(run: Run) -> None:
    """A call that is not answered within --timeout, here by a listener that never speaks, says so."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        target = f"127.0.0.1:{silent.getsockname()[1]}"
        line = one_line(run("attend", *QUERY, "--target", target, "--timeout", "0.1"))
    assert line.startswith(f"{target}: DEADLINE_EXCEEDED ")


def test_a_certificate_that_is_not_there(run: Run) -> None:
    """A file of the connection that does not exist is named."""
    assert "none.pem" in one_line(run("health", "--ca", "none.pem"))
    assert "certificate and key" in one_line(run("health", "--certificate-key", __file__))


def test_ctrl_c_ends_without_a_word(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Interrupted, the command ends with the status that shells give it, and without a traceback."""

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(qkv.Client, "health", interrupted)
    ran = run("health")
    assert (ran.status, ran.out, ran.err) == (130, "", "")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["attend"], "--query"),
        ([], "SUBCOMMAND"),
        (["guess"], "guess"),
        (["attend", *QUERY, "--alignment", "left"], "--alignment"),
        (["attend", *QUERY, "--outputs", "everything"], "--outputs"),
        (["attend", *QUERY, "--dtype", "int8"], "--dtype"),
        (["attend", *QUERY, "--scale", "much"], "--scale"),
        (["explain", "--heads", "two"], "--heads"),
        (["health", "--timeout", "soon"], "--timeout"),
    ],
)
def test_what_the_command_line_does_not_take_is_named(arguments: Sequence[str], said: str, run: Run) -> None:
    """What argparse refuses names the argument, with the usual exit status 2."""
    ran = run(*arguments)
    assert (ran.status, ran.out) == (2, "")
    assert said in ran.err.splitlines()[-1]
