"""What a check finds: each thing that a vector says is looked at, so that a spoiled one is reported as failed."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

import qkv
from qkv import vectors

Entry = dict[str, Any]
Arrays = dict[str, "np.ndarray[Any, np.dtype[Any]]"]
Spoil = Callable[[Entry, Arrays], object]

PLAIN, MASKED, WORD, REFUSED = (
    "float32/empty_row_nan",
    "float32/every_quantity",
    "matrix/walk_through",
    "refused/two_wrong_fields",
)


def in_output(change: Callable[["np.ndarray[Any, np.dtype[Any]]"], object]) -> Spoil:
    """What changes the expected output."""
    return lambda _, arrays: change(arrays["expected.output"])


def expected(name: str, **content: object) -> Spoil:
    """What changes the entry of an expected array."""
    return lambda entry, _: entry["expected"][name].update(content)


def _number(output: "np.ndarray[Any, np.dtype[Any]]") -> None:
    place = tuple(np.argwhere(np.isfinite(output))[-1])
    output[place] += 1e-4


def _put(value: float, *, where: float) -> Callable[["np.ndarray[Any, np.dtype[Any]]"], None]:
    """Put a value in the place of the first element that is NaN, −inf or finite, as `where` is."""

    def change(array: "np.ndarray[Any, np.dtype[Any]]") -> None:
        alike = np.isfinite(array) if np.isfinite(where) else np.isclose(array, where, equal_nan=True)
        array[tuple(np.argwhere(alike)[0])] = value

    return change


def _reshape(entry: Entry, arrays: Arrays) -> None:
    arrays["expected.output"] = arrays["expected.output"][:1]
    entry["expected"]["output"]["shape"][0] = 1


SPOILED: dict[str, tuple[str, Spoil, str]] = {  # the case, what is done to it, and what is said
    "a number": (PLAIN, in_output(_number), "output: 1 of 240 elements differ; at "),
    "NaN for a number": (PLAIN, in_output(_put(np.nan, where=0)), "output: 1 of 240 elements differ; at "),
    "a number for NaN": (PLAIN, in_output(_put(0, where=np.nan)), "output: 1 of 240 elements differ; at "),
    "infinity for minus infinity": (
        MASKED,
        lambda _, arrays: _put(np.inf, where=-np.inf)(arrays["expected.masked_scores"]),
        "masked_scores: 1 of 280 elements differ; at ",
    ),
    "an input": (PLAIN, lambda _, arrays: _number(arrays["input.query"]), "output: "),
    "the shape": (PLAIN, _reshape, "output: shape is (2, 4, 5, 6), expected (1, 4, 5, 6)"),
    "the type": (
        PLAIN,
        expected("output", dataType="DATA_TYPE_FLOAT64"),
        "output: is a tensor of DATA_TYPE_FLOAT32, expected a tensor of DATA_TYPE_FLOAT64",
    ),
    "a tensor for a matrix": (
        WORD,
        lambda entry, _: entry["expected"]["output"].update(matrix=False, dataType="DATA_TYPE_FLOAT64"),
        "output: is a matrix, expected a tensor of DATA_TYPE_FLOAT64",
    ),
    "a matrix for a tensor": (
        PLAIN,
        expected("output", matrix=True),
        "output: is a tensor of DATA_TYPE_FLOAT32, expected a matrix",
    ),
    "an array too many in the answer": (
        MASKED,
        lambda entry, _: entry["expected"].pop("scores"),
        "the answer has averaged_weights, capped_scores, ",
    ),
    "an array too few in the answer": (
        PLAIN,
        lambda entry, _: entry["expected"].update(weights=entry["expected"]["output"]),
        "the answer has output, expected output, weights",
    ),
    "the request": (MASKED, lambda entry, _: entry["request"]["scoring"].update(softcap=2.1), "output: "),
    "the code": (REFUSED, lambda entry, _: entry["error"].update(code="NOT_FOUND"), "failed as "),
    "the reason": (REFUSED, lambda entry, _: entry["error"].update(reason="OVERLOADED"), "failed as "),
    "no reason": (REFUSED, lambda entry, _: entry["error"].pop("reason"), "failed as "),
    "a field more": (REFUSED, lambda entry, _: entry["error"]["fields"].append("value"), "failed as "),
    "a field less": (REFUSED, lambda entry, _: entry["error"]["fields"].pop(), "failed as "),
    "a refusal for an answer": (
        PLAIN,
        lambda entry, _: entry.update(expected={}, error={"code": "INVALID_ARGUMENT", "fields": []}),
        "was answered, expected ",
    ),
    "an answer for a refusal": (REFUSED, lambda entry, _: entry.pop("error"), "INVALID_ARGUMENT: "),
}


@pytest.mark.parametrize("name", SPOILED)
def test_a_spoiled_vector_is_reported(name: str, suite: Path, client: qkv.Client, tmp_path: Path) -> None:
    """A vector that says something else than the server does fails, and the report says where; another still passes."""
    case, spoil, said = SPOILED[name]
    folder = tmp_path / "vectors"
    other = "float16/plain"
    manifest = json.loads((suite / "manifest.json").read_text())
    manifest["cases"] = [entry for entry in manifest["cases"] if entry["name"] in (case, other)]
    for entry in manifest["cases"]:
        (folder / entry["file"]).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(suite / entry["file"], folder / entry["file"])
    (spoiled,) = (entry for entry in manifest["cases"] if entry["name"] == case)
    file = folder / spoiled["file"]
    arrays = {name: array.copy() for name, array in safetensors.numpy.load_file(file).items()}
    spoil(spoiled, arrays)
    safetensors.numpy.save_file(arrays, file)
    (folder / "manifest.json").write_text(json.dumps(manifest))
    wrong = {outcome.name: outcome.wrong for outcome in vectors.check(client, folder)}
    assert wrong.pop(other) == ""
    assert wrong[case].startswith(said)


def test_a_server_that_is_not_there_passes_nothing(suite: Path) -> None:
    """Without a server every answer fails, and every refusal too but that of the deadline."""
    with qkv.Client("127.0.0.1:1", retries=False) as nowhere:
        outcomes = list(vectors.check(nowhere, suite, ["matrix/*", "refused/*"]))
    assert [outcome.name for outcome in outcomes if not outcome.wrong] in ([], ["refused/deadline"])
    assert len(outcomes) > 20


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "has no manifest.json of test vectors"),
        ("{", "has no manifest.json of test vectors"),
        ("[]", "has no manifest.json of test vectors"),
        ('{"cases": []}', "has no manifest.json of test vectors"),
        ('{"format": 2, "cases": []}', "has test vectors of format 2, expected 1"),
    ],
)
def test_what_is_no_suite_is_refused(content: str | None, said: str, client: qkv.Client, tmp_path: Path) -> None:
    """A folder without vectors, or with those of another format, is an error that names it."""
    if content is not None:
        (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(ValueError, match=said):
        list(vectors.check(client, tmp_path))
