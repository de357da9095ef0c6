"""The command `qkv vectors`: what it writes, where it refuses to, and what it says."""

import json
import os
import re
import sys
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import safetensors.numpy
from serving import stand_in

import qkv
from qkv import vectors
from qkv.v1.attention_pb2 import AttentionRequest, AttentionResponse
from qkv.vectors.cases import GROUPS, TYPES

from .conftest import Run

HALF = ("--dtype", "float16", "--select", "float*/causal*")


def files(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def manifest(folder: Path) -> Any:
    return json.loads((folder / "manifest.json").read_text())


def names(folder: Path) -> list[str]:
    return [case["name"] for case in manifest(folder)["cases"]]


def test_the_manifest_says_what_it_is(suite: Path) -> None:
    """The manifest has the format, the semantics, the seed and who made it, and each case the keys of the format."""
    content = manifest(suite)
    assert {key: content[key] for key in ("format", "semantics_version", "seed")} == {
        "format": 1,
        "semantics_version": 1,
        "seed": 0,
    }
    assert re.fullmatch(r"qkv \d+\.\d+\.\d+", content["generator"])
    assert len(set(names(suite))) == len(content["cases"])
    for case in content["cases"]:
        assert case.keys() - {"file", "timeout_seconds"} - {"expected", "error"} == {
            "name",
            "method",
            "request",
            "inputs",
        }
        assert ("expected" in case) != ("error" in case)
    assert set(files(suite)) == {"manifest.json", *(case["file"] for case in content["cases"] if "file" in case)}


def test_arrays_are_as_the_manifest_says(suite: Path) -> None:
    """Every array of a file is named once in its case; what is expected is float64 and shaped as the entry says."""
    for case in manifest(suite)["cases"]:
        arrays = safetensors.numpy.load_file(suite / case["file"]) if "file" in case else {}
        expected = {entry["tensor"]: entry for entry in case.get("expected", {}).values()}
        assert arrays.keys() == {*case["inputs"].values(), *expected}
        for name, entry in expected.items():
            assert arrays[name].dtype == np.float64
            assert list(arrays[name].shape) == entry["shape"]


def test_the_same_seed_gives_the_same_bytes(suite: Path, run: Run, tmp_path: Path) -> None:
    """A second run writes the same files, byte for byte; with another seed every case with random numbers differs."""
    assert run(tmp_path / "again").status == 0
    assert files(tmp_path / "again") == files(suite)
    assert run(tmp_path / "other", "--seed", "1").status == 0
    ours, others = files(suite), files(tmp_path / "other")
    same = {file for file in ours if ours[file] == others[file]}
    assert ours.keys() == others.keys()
    assert same == {*(file for file in ours if file.startswith("matrix/")), "refused/wrong_type.safetensors"}


def test_a_case_does_not_depend_on_the_others(suite: Path, run: Run, tmp_path: Path) -> None:
    """Selected cases are those of the whole suite, byte for byte."""
    assert run(tmp_path / "some", *HALF).status == 0
    selected = names(tmp_path / "some")
    assert selected == [name for name in names(suite) if name.startswith("float16/causal")]
    assert len(selected) > 2
    whole = files(suite)
    for file, content in files(tmp_path / "some").items():
        assert file == "manifest.json" or content == whole[file]


def test_the_command_says_what_it_wrote(run: Run, tmp_path: Path) -> None:
    """A line for each group, and at the end the number of cases, their size and where they are."""
    ran = run(tmp_path / "a" / "b", "--select", "*/plain", "matrix/m*")
    *groups, last = ran.out.splitlines()
    assert groups == [*(f"{dtype}: 1 cases" for dtype in TYPES), "matrix: 2 cases"]
    assert re.fullmatch(rf"wrote 6 cases, 0\.\d MB, to {re.escape(str(tmp_path))}/a/b", last)
    assert ran.err == ""


def test_larger_sizes_pass_too(run: Run, client: qkv.Client, tmp_path: Path) -> None:
    """Vectors of medium size have longer sequences, and the server passes them."""
    assert run(tmp_path, "--sizes", "medium", "--select", "float32/*", "bfloat16/[p-r]*").status == 0
    outcomes = list(vectors.check(client, tmp_path))
    assert [outcome for outcome in outcomes if outcome.wrong] == []
    assert len(outcomes) > 80
    plain = safetensors.numpy.load_file(tmp_path / "float32" / "plain.safetensors")
    assert plain["input.query"].shape == (2, 4, 24, 32)


def test_list_names_the_cases_and_writes_nothing(suite: Path, run: Run) -> None:
    """--list prints the names that would be written, and needs no server."""
    assert run("--list", "--target", "127.0.0.1:1").out.splitlines() == names(suite)
    assert run("--list", "--dtype", "float64", "--select", "*/alibi*", "refused/d*").out.splitlines() == [
        "float64/alibi",
        "float64/alibi_slopes",
        "refused/deadline",
    ]


def test_vectors_are_replaced(run: Run, tmp_path: Path) -> None:
    """A folder with vectors is written anew: no file of the old suite stays."""
    assert run(tmp_path, "--select", "*/rotary*").status == 0
    assert run(tmp_path, "--select", "float64/plain").status == 0
    assert set(files(tmp_path)) == {"manifest.json", "float64/plain.safetensors"}


def test_a_run_that_was_broken_off_can_be_repeated(run: Run, tmp_path: Path) -> None:
    """What is left of it is a suite without cases, which nobody takes for a whole one, and is replaced."""
    broken = run(tmp_path, "--select", "*/plain", "--target", "127.0.0.1:1", "--timeout", "1")
    assert (broken.status, names(tmp_path)) == (1, [])
    assert run(tmp_path, "--select", "*/plain").status == 0
    assert len(names(tmp_path)) == len(TYPES)


def test_a_folder_with_something_else_is_left_alone(run: Run, tmp_path: Path) -> None:
    """The command refuses to write among other files; with --force it does, and they stay."""
    (tmp_path / "thesis.tex").write_text("dear")
    (tmp_path / "matrix").mkdir()
    (tmp_path / "matrix" / "mine.safetensors").write_text("mine")
    refused = run(tmp_path, *HALF)
    assert refused.status == 1
    assert (
        refused.err
        == f"qkv: {tmp_path}: holds something else than vectors, expected a new or empty folder, or --force\n"
    )
    assert set(files(tmp_path)) == {"thesis.tex", "matrix/mine.safetensors"}
    assert run(tmp_path, *HALF, "--force").status == 0
    assert {"thesis.tex", "matrix/mine.safetensors", "manifest.json"} < set(files(tmp_path))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "DIR: needed, the folder to write to, before --select and --dtype; or --list"),
        (("--select", "*/plain", "x"), "DIR: needed"),
        (("x", "--seed", "-1"), "--seed: is -1, expected at least 0"),
        (("x", "--select", "*/plain", "float23/*"), "no case matches 'float23/*'; the names are as float64/plain"),
        (("x", "--dtype", "float16", "--select", "float64/*"), "no case matches 'float64/*'"),
    ],
)
def test_wrong_arguments_are_named(
    arguments: tuple[str, ...], said: str, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is one line that names the argument, and nothing is written."""
    monkeypatch.chdir(tmp_path)
    ran = run(*arguments)
    assert ran.status == 1
    assert ran.err.startswith(f"qkv: {said}")
    assert ran.err.count("\n") == 1
    assert os.listdir(tmp_path) == []


def test_help_teaches(run: Run) -> None:
    """--help has the flags with the types, the sizes, and examples that are cases."""
    shown = run("--help").out
    flags = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", shown))
    assert {"--select", "--dtype", "--seed", "--sizes", "--list", "--force", "--target"} <= flags
    assert all(word in shown for word in (*TYPES, "small", "medium", "large", "docs/vectors.md"))


def test_says_how_to_get_safetensors(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the package safetensors nothing is asked or written, and the error says how to install it."""
    monkeypatch.setitem(sys.modules, "safetensors.numpy", None)
    ran = run(tmp_path / "vectors")
    assert (ran.status, ran.out) == (1, "")
    assert ran.err == "qkv: safetensors files need a package more: pip install 'qkv[safetensors]'\n"
    assert not (tmp_path / "vectors").exists()


def _answer(payload: bytes, _: grpc.ServicerContext) -> bytes:
    """An answer to everything: the key."""
    return AttentionResponse(output=AttentionRequest.FromString(payload).key).SerializeToString()


def _refuse(_: bytes, context: grpc.ServicerContext) -> bytes:
    context.abort(grpc.StatusCode.INVALID_ARGUMENT, "never heard of it")
    raise AssertionError


@pytest.mark.parametrize(
    ("attend", "selected", "said"),
    [
        (_answer, "refused/no_query", "refused/no_query: this server answers, expected INVALID_ARGUMENT"),
        (_refuse, "refused/no_query", "refused/no_query: this server says INVALID_ARGUMENT never heard of it"),
        (_refuse, "float32/plain", "float32/plain: this server says INVALID_ARGUMENT never heard of it"),
    ],
)
def test_a_server_that_does_otherwise_is_named_with_the_case(
    attend: Any, selected: str, said: str, run: Run, tmp_path: Path
) -> None:
    """A server that answers what must be refused, or refuses what has an answer, makes no vectors."""
    with stand_in(attend) as address:
        ran = run(tmp_path, "--select", selected, "--target", address)
    assert (ran.status, ran.err) == (1, f"qkv: {said}\n")
    assert names(tmp_path) == []


def test_groups_are_the_folders(suite: Path) -> None:
    """Each group has a folder, named as the first part of its cases."""
    assert {file.name for file in suite.iterdir() if file.is_dir()} == set(GROUPS)
