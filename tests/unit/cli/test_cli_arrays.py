"""`qkv attend` takes arrays as people type them and as files hold them, and saves them so that they are read back."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
import pytest
import safetensors.numpy

import qkv
from qkv import codec

from .conftest import Asked, Run, one_line

Array = npt.NDArray[Any]

X = np.array([[0.5, -1.25, 2.0], [1e-3, 0.0, 7.0]])
OTHER = np.ones((2, 3))
BFLOAT16 = X.astype(ml_dtypes.bfloat16)


def save_npy(folder: Path) -> str:
    np.save(folder / "x.npy", X)
    return f"{folder}/x.npy"


def save_single_npz(folder: Path) -> str:
    np.savez(folder / "x.npz", whatever=X)
    return f"{folder}/x.npz"


def save_npz_by_option(folder: Path) -> str:
    np.savez(folder / "x.npz", key=OTHER, query=X)
    return f"{folder}/x.npz"


def save_npz_by_name(folder: Path) -> str:
    np.savez(folder / "x.npz", query=OTHER, mine=X)
    return f"{folder}/x.npz:mine"


def save_safetensors(folder: Path) -> str:
    safetensors.numpy.save_file({"query": X, "key": OTHER}, folder / "x.safetensors")
    return f"{folder}/x.safetensors"


def save_safetensors_by_name(folder: Path) -> str:
    safetensors.numpy.save_file({"query": OTHER, "layer.0.q": X}, folder / "x.safetensors")
    return f"{folder}/x.safetensors:layer.0.q"


def save_json_list(folder: Path) -> str:
    (folder / "x.json").write_text(json.dumps(X.tolist()))
    return f"{folder}/x.json"


def save_json_by_name(folder: Path) -> str:
    (folder / "x.json").write_text(json.dumps({"query": OTHER.tolist(), "mine": X.tolist()}))
    return f"{folder}/x.json:mine"


def save_csv(folder: Path) -> str:
    (folder / "x.csv").write_text("0.5,-1.25,2\n1e-3, 0.0, 7\n")
    return f"{folder}/x.csv"


FILES: list[Callable[[Path], str]] = [
    save_npy,
    save_single_npz,
    save_npz_by_option,
    save_npz_by_name,
    save_safetensors,
    save_safetensors_by_name,
    save_json_list,
    save_json_by_name,
    save_csv,
]


@pytest.mark.parametrize(
    "text",
    [
        "[[0.5, -1.25, 2], [1e-3, 0, 7]]",
        "0.5 -1.25 2; 1e-3 0 7",
        " 0.5,-1.25,2 ;\n0.001, 0, 7.0 ",
    ],
)
def test_takes_typed_arrays(text: str, asked: Asked) -> None:
    """JSON and rows parted by semicolons are the same float64 array."""
    array = codec.from_operand(asked("--query", text).query, "query")
    assert array.dtype == np.float64
    np.testing.assert_array_equal(array, X)


@pytest.mark.parametrize(("text", "expected"), [("[[true, false]]", [[True, False]]), ("true", True)])
def test_takes_typed_masks(text: str, expected: object, asked: Asked) -> None:
    """Booleans in JSON are booleans, a single one too."""
    mask = codec.from_operand(asked("--query", "1; 2", "--mask", text).visibility.mask, "mask")
    assert mask.dtype == np.bool_
    assert mask.tolist() == expected


def test_takes_typed_arrays_of_any_rank(asked: Asked) -> None:
    """JSON nests as deep as the array has axes."""
    array = codec.from_operand(asked("--query", "[[[[1, 2]], [[3, 4]]]]").query, "query")
    np.testing.assert_array_equal(array, [[[[1.0, 2.0]], [[3.0, 4.0]]]])


@pytest.mark.parametrize("save", FILES, ids=lambda save: save.__name__)
def test_takes_arrays_from_files(save: Callable[[Path], str], asked: Asked, tmp_path: Path) -> None:
    """Each kind of file is read: its only array, the one of the option's name, or the one named after a colon."""
    array = codec.from_operand(asked("--query", save(tmp_path)).query, "query")
    assert array.dtype == np.float64
    np.testing.assert_array_equal(array, X)


def test_one_file_gives_each_option_its_array(asked: Asked, tmp_path: Path) -> None:
    """Several options may name one file, in which names are written with _ or with -."""
    file = tmp_path / "all.npz"
    named: dict[str, Any] = {"query": X, "value": OTHER, "past_key": X + 1, "past-value": OTHER + 1}
    np.savez(file, **named)
    request = asked("--query", file, "--value", file, "--past-key", file, "--past-value", file)
    np.testing.assert_array_equal(codec.from_operand(request.value, "value"), OTHER)
    np.testing.assert_array_equal(codec.from_operand(request.past_key, "past_key"), X + 1)
    np.testing.assert_array_equal(codec.from_operand(request.past_value, "past_value"), OTHER + 1)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, ml_dtypes.bfloat16])
def test_keeps_the_type_of_a_file(dtype: type, asked: Asked, tmp_path: Path) -> None:
    """Arrays are sent in the type in which the file has them, bfloat16 too."""
    safetensors.numpy.save_file({"x": X.astype(dtype)}, tmp_path / "x.safetensors")
    array = codec.from_operand(asked("--query", tmp_path / "x.safetensors").query, "query")
    assert array.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(array, X.astype(dtype))


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16"])
def test_converts_all_but_masks(dtype: str, asked: Asked) -> None:
    """--dtype is the type of every array but of boolean masks."""
    request = asked("--query", "1.1; 2.2", "--key", "3.3; 4.4", "--mask", "[[true, false]]", "--dtype", dtype)
    assert codec.from_operand(request.query, "query").dtype.name == dtype
    assert codec.from_operand(request.key, "key").dtype.name == dtype
    assert codec.from_operand(request.visibility.mask, "mask").dtype == np.bool_


def load(file: Path) -> dict[str, Array]:
    """What a saved file holds, by the libraries that others read it with."""
    match file.suffix:
        case ".npy":
            return {"output": np.load(file)}
        case ".npz":
            with np.load(file) as archive:
                return dict(archive)
        case ".safetensors":
            return dict(safetensors.numpy.load_file(file))
        case ".csv":
            return {"output": np.loadtxt(file, delimiter=",", ndmin=2)}
        case _:
            return {name: np.array(rows) for name, rows in json.loads(file.read_text()).items()}


@pytest.mark.parametrize("suffix", [".npz", ".safetensors", ".json"])
def test_saves_every_array_of_the_answer(suffix: str, run: Run, client: qkv.Client, tmp_path: Path) -> None:
    """The output and what else was asked for are in the file under their names, bit for bit."""
    file = tmp_path / f"answer{suffix}"
    ran = run("attend", "--query", json.dumps(X.tolist()), "--outputs", "weights", "log_sum_exp", "--save", file)
    assert (ran.status, ran.err) == (0, "")
    assert ran.out == f"saved output, weights, log_sum_exp to {file}\n"
    expected = client.attention(X, outputs=["weights", "log_sum_exp"]).arrays()
    saved = load(file)
    assert list(saved) == list(expected) or suffix == ".safetensors"  # which sorts them
    for name, array in expected.items():
        assert saved[name].dtype == np.float64
        np.testing.assert_array_equal(saved[name], array)


@pytest.mark.parametrize("suffix", [".npy", ".csv"])
def test_saves_the_output_alone(suffix: str, run: Run, client: qkv.Client, tmp_path: Path) -> None:
    """A .npy or .csv file holds the output, bit for bit."""
    file = tmp_path / f"output{suffix}"
    assert run("attend", "--query", json.dumps(X.tolist()), "--save", file).out == f"saved output to {file}\n"
    np.testing.assert_array_equal(load(file)["output"], client.attention(X).output)


def test_rows_of_numbers_are_no_more_than_a_matrix(run: Run, tmp_path: Path) -> None:
    """What has more axes is not flattened into a .csv file, which would lose its shape."""
    file = tmp_path / "output.csv"
    line = one_line(run("attend", "--query", json.dumps([X.tolist()]), "--save", file))
    assert line == f"--save: {file}: holds rows of numbers, and output has the shape (1, 2, 3)"
    assert not file.exists()


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".safetensors", ".json", ".csv"])
def test_what_was_saved_is_taken_again(suffix: str, run: Run, asked: Asked, tmp_path: Path) -> None:
    """An answer is the question of the next call, by file and name."""
    file = tmp_path / f"answer{suffix}"
    assert run("attend", "--query", json.dumps(X.tolist()), "--save", file).status == 0
    source = file if suffix in (".npy", ".csv") else f"{file}:output"
    array = codec.from_operand(asked("--query", source).query, "query")
    np.testing.assert_array_equal(array, load(file)["output"])


def test_bfloat16_goes_from_file_to_file(run: Run, client: qkv.Client, tmp_path: Path) -> None:
    """Read from safetensors, asked, and saved into safetensors, bfloat16 stays bfloat16."""
    question, answer = tmp_path / "question.safetensors", tmp_path / "answer.safetensors"
    safetensors.numpy.save_file({"query": BFLOAT16}, question)
    ran = run("attend", "--query", question, "--outputs", "weights", "--save", answer)
    assert (ran.status, ran.err) == (0, "")
    expected = client.attention(BFLOAT16, outputs=["weights"]).arrays()
    for name, array in safetensors.numpy.load_file(answer).items():
        assert array.dtype == np.dtype(ml_dtypes.bfloat16)
        np.testing.assert_array_equal(array, expected[name])


def test_bfloat16_is_saved_as_numbers(run: Run, client: qkv.Client, tmp_path: Path) -> None:
    """JSON has the numbers themselves."""
    file = tmp_path / "answer.json"
    assert run("attend", "--query", json.dumps(X.tolist()), "--dtype", "bfloat16", "--save", file).status == 0
    expected = client.attention(BFLOAT16).output.astype(np.float64)
    assert json.loads(file.read_text())["output"] == expected.tolist()


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_bfloat16_is_not_saved_as_something_else(suffix: str, run: Run, tmp_path: Path) -> None:
    """NumPy's files would lose the type, so they are refused, with the ones that would not."""
    file = tmp_path / f"answer{suffix}"
    line = one_line(run("attend", "--query", "1", "--dtype", "bfloat16", "--save", file))
    assert line == f"--save: {file}: NumPy's files lose the type bfloat16, expected .safetensors or .json"
    assert not file.exists()


def test_says_how_to_get_safetensors(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the package safetensors its files are refused with how to install it."""
    monkeypatch.setitem(sys.modules, "safetensors.numpy", None)
    line = one_line(run("attend", "--query", "x.safetensors"))
    assert line == "safetensors files need a package more: pip install 'qkv[safetensors]'"
