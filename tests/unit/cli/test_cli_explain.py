"""`qkv explain` prints what NumPy computes, to all printed digits."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from serving import ServerProcess

from .conftest import Run, one_line

Array = npt.NDArray[Any]

# The classic walk-through gives these words these numbers.
WORDS = {"I": [0.5, 0.8, 0.2, 0.6], "love": [0.7, 0.1, 0.9, 0.3], "bears": [0.4, 0.6, 0.3, 0.8]}
SIX = {"a": [1, -2, 3, 0.5, 0, 0.25], "b": [0.1, 0.2, 0.3, 0.4, 0.5, 0.6], "c": [-1, -1, -1, 2, 2, 2]}


def tables(text: str) -> list[tuple[list[str], list[str], list[list[str]]]]:
    """The tables in a text: row labels, column labels, numbers as printed."""
    found = []
    for block in text.split("\n\n"):
        header, *lines = block.splitlines() or [""]
        rows = [line.split() for line in lines]
        if rows and all(re.fullmatch(r"-?\d+\.\d{6}", cell) for row in rows for cell in row[1:]):
            found.append(([row[0] for row in rows], header.split(), [row[1:] for row in rows]))
    return found


def printed(matrix: Array) -> list[list[str]]:
    return [[f"{number:.6f}" for number in row] for row in matrix.tolist()]


def softmax(scores: Array, axis: int) -> Array:
    exponentials = np.exp(scores)
    return np.asarray(exponentials / exponentials.sum(axis=axis, keepdims=True))


def walk_through(words: list[str], x: Array, heads: int) -> list[tuple[list[str], list[str], list[list[str]]]]:
    """The tables of the walk-through, by NumPy and the definition alone."""
    features = [f"x{number}" for number in range(1, x.shape[1] + 1)]
    scores = x @ x.T
    weights = softmax(scores, axis=0)
    per_head = np.split(x, heads, axis=1)
    head_weights = [softmax(part @ part.T, axis=1) for part in per_head]
    several = np.hstack([w @ part for w, part in zip(head_weights, per_head, strict=True)])
    return [
        (words, features, printed(x)),
        (words, words, printed(scores)),
        ([*words, "sum"], words, printed(np.vstack((weights, weights.sum(axis=0))))),
        (words, features, printed(softmax(scores, axis=1) @ x)),
        *((words, words, printed(w)) for w in head_weights),
        (words, features, printed(several)),
    ]


def test_prints_the_classic_walk_through(run: Run) -> None:
    """X, X·Xᵀ, its softmax over axis 0, the new embeddings and two heads are NumPy's to six decimals."""
    ran = run("explain")
    assert (ran.status, ran.err) == (0, "")
    words = list(WORDS)
    assert 'Self-attention on "I love bears"' in ran.out
    assert tables(ran.out) == walk_through(words, np.array([WORDS[word] for word in words]), heads=2)
    assert "made up" not in ran.out


@pytest.mark.parametrize("sentence", ["bears", "bears love bears", "love I"])
@pytest.mark.parametrize("heads", [1, 2, 4])
def test_prints_any_sentence_in_any_number_of_heads(sentence: str, heads: int, run: Run) -> None:
    """Known words in any order and number, in as many heads as divide their numbers, are NumPy's to six decimals."""
    words = sentence.split()
    ran = run("explain", sentence, "--heads", heads)
    assert tables(ran.out) == walk_through(words, np.array([WORDS[word] for word in words]), heads)


def test_takes_embeddings_from_a_file(run: Run, tmp_path: Path) -> None:
    """--embeddings JSON gives words their numbers, as many as it likes, negative ones too."""
    file = tmp_path / "six.json"
    file.write_text(json.dumps(SIX))
    ran = run("explain", "c a b a", "--embeddings", file, "--heads", 3)
    assert (ran.status, ran.err) == (0, "")
    assert tables(ran.out) == walk_through(["c", "a", "b", "a"], np.array([SIX[word] for word in "caba"]), heads=3)


def test_makes_up_numbers_for_unknown_words(run: Run) -> None:
    """Unknown words are said to be made up, once each, and get the same numbers every time, whatever stands around."""
    first, second = run("explain", "I greet purple purple ünïcode"), run("explain", "purple ünïcode love")
    assert "No embedding is known for greet, purple, ünïcode: the numbers are made up" in first.out
    assert "No embedding is known for purple, ünïcode: the numbers are made up" in second.out
    rows = dict(zip(tables(first.out)[0][0], tables(first.out)[0][2], strict=True))
    again = dict(zip(tables(second.out)[0][0], tables(second.out)[0][2], strict=True))
    assert rows["purple"] == again["purple"]
    assert rows["ünïcode"] == again["ünïcode"]
    assert rows["I"] == ["0.500000", "0.800000", "0.200000", "0.600000"]
    assert len({tuple(row) for row in rows.values()}) == 4
    assert all(0.1 <= float(number) <= 0.9 for number in rows["purple"])
    numbers = np.array([[float(number) for number in rows[word]] for word in ("I", "greet", "purple")])
    ran = run("explain", "I greet purple")
    assert tables(ran.out) == walk_through(["I", "greet", "purple"], numbers, heads=2)


def test_made_up_numbers_are_those_of_every_process(run: Run, server: ServerProcess) -> None:
    """A word has the same made-up numbers in another process, whatever Python's hash seed is."""
    command = [sys.executable, "-m", "qkv.cli.main", "explain", "purple", "--target", server.address]
    here = tables(run("explain", "purple").out)
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        said = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        assert tables(said.stdout) == here


def test_draws_heat_maps(run: Run, tmp_path: Path) -> None:
    """--plot writes a PNG of three panels, 1890 × 600 pixels, and says where."""
    file = tmp_path / "maps.png"
    ran = run("explain", "--plot", file)
    assert (ran.status, ran.err) == (0, "")
    assert ran.out.endswith(f"\nHeat maps are in {file}.\n")
    assert file.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    with Image.open(file) as image:
        assert image.size == (1890, 600)
        assert len(image.convert("RGB").getcolors(1_000_000) or ()) > 100  # not a blank sheet


def test_draws_under_the_name_that_was_given(run: Run, tmp_path: Path) -> None:
    """A name without a suffix is the name of the picture, a PNG."""
    file = tmp_path / "maps"
    assert run("explain", "--plot", file).status == 0
    assert file.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")


def test_says_how_to_get_matplotlib(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without matplotlib everything but the picture is printed, and then how to install it."""
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    ran = run("explain", "--plot", "maps.png")
    assert ran.status == 1
    assert len(tables(ran.out)) == 7
    assert ran.err == "qkv: drawing needs matplotlib: pip install 'qkv[plot]'\n"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{", "is no JSON"),
        ("[1, 2]", "expected"),
        ("{}", "expected"),
        ('{"a": []}', "expected"),
        ('{"a": ["1"]}', "expected"),
        ('{"a": [true]}', "expected"),
        ('{"a": 1}', "expected"),
        ('{"a": [1, 2], "b": [1]}', "has [1, 2] numbers for a word"),
    ],
)
def test_refuses_embeddings_that_are_none(content: str, reason: str, run: Run, tmp_path: Path) -> None:
    """A file that does not give each word as many numbers is refused in one line that names it."""
    file = tmp_path / "embeddings.json"
    file.write_text(content)
    line = one_line(run("explain", "a b", "--embeddings", file))
    assert line.startswith(f"{file}: {reason}")


def test_refuses_a_file_that_is_not_there(run: Run, tmp_path: Path) -> None:
    """A file that does not exist is named."""
    file = tmp_path / "none.json"
    assert str(file) in one_line(run("explain", "--embeddings", file))


@pytest.mark.parametrize("heads", [-1, 0, 3, 8])
def test_refuses_heads_that_do_not_divide_the_numbers(heads: int, run: Run) -> None:
    """Heads that the four numbers cannot be dealt to are refused before anything is printed."""
    assert one_line(run("explain", "--heads", heads)).startswith(f"--heads: is {heads}, expected a divisor of 4")


@pytest.mark.parametrize("sentence", ["", "   "])
def test_refuses_a_sentence_without_words(sentence: str, run: Run) -> None:
    """No words is no sentence."""
    assert one_line(run("explain", sentence)) == "sentence: has no words, expected at least one"
