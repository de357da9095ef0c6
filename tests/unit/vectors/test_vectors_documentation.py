"""docs/vectors.md does not lie: its reader reads a suite as printed, and it says what there is."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest
from serving import ServerProcess

from qkv.vectors.cases import select

PAGE = (Path(__file__).parents[3] / "docs" / "vectors.md").read_text(encoding="utf-8")
READER, KERNEL, CHECK = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
ALONE = "import sys; sys.modules.update(dict.fromkeys(('qkv', 'ml_dtypes', 'google', 'grpc')))\n"


def printed_by(snippet: str) -> str:
    return "".join(f"{line}\n" for line in re.findall(r"^# (.+)$", snippet, re.MULTILINE))


def run(program: str, folder: Path) -> str:
    """What a program prints that runs beside a suite called `vectors`."""
    done = subprocess.run([sys.executable, "-c", program], cwd=folder, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    return done.stdout


@pytest.fixture
def beside(suite: Path, tmp_path: Path) -> Path:
    (tmp_path / "vectors").symlink_to(suite)
    return tmp_path


def test_the_reader_is_short_and_needs_little() -> None:
    """Thirty lines of code, and no import but numpy, safetensors, json and the standard library."""
    assert len([line for line in READER.splitlines() if line]) <= 30
    modules = {
        module.split(".")[0]
        for node in ast.walk(ast.parse(READER))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for module in ([node.module or ""] if isinstance(node, ast.ImportFrom) else [each.name for each in node.names])
    }
    assert modules - {"json", "pathlib"} == {"numpy", "safetensors"}


def test_the_reader_reads_every_case(beside: Path) -> None:
    """Without any package of ours it reads each case of a suite: its arrays, their types, and what is expected."""
    program = (
        ALONE
        + READER
        + (
            "cases = list(read('vectors'))\n"
            "print(len(cases), sum(len(inputs) + len(expected) for _, inputs, expected in cases))\n"
            "print(sorted({array.dtype.name for _, inputs, _ in cases for array in inputs.values()}))\n"
            "print({array.dtype.name for _, _, expected in cases for array, _ in expected.values()})\n"
            "print(all(passes(array, array, of) for _, _, expected in cases for array, of in expected.values()))\n"
            "print(any(passes(array + 1, array, of) for _, _, expected in cases for array, of in expected.values()"
            " if np.isfinite(array).all()))\n"
        )
    )
    counts, types, expected, same, other = run(program, beside).splitlines()
    number, arrays = map(int, counts.split())
    assert number == len(select())
    assert arrays > 4 * number
    assert types == str(["bool", "float16", "float32", "float64", "int32", "int64", "int8", "uint8"])
    assert (expected, same, other) == ("{'float64'}", "True", "False")


def test_the_kernel_of_the_page_passes(beside: Path) -> None:
    """The attention of the page passes in all four types, and one with another scale in none."""
    assert run(ALONE + READER + KERNEL, beside) == printed_by(KERNEL)
    wrong = KERNEL.replace("np.sqrt(query.shape[-1])", "query.shape[-1]")
    assert wrong != KERNEL
    assert run(ALONE + READER + wrong, beside) == printed_by(KERNEL).replace("True", "False")


def test_the_check_of_the_page_passes(beside: Path, server: ServerProcess) -> None:
    """A server put to the test as the page says fails nothing."""
    assert run(CHECK.replace("localhost:50051", server.address), beside) == printed_by(CHECK)


def test_the_page_counts_the_cases() -> None:
    """It says how many there are."""
    assert f"# {len(select())} cases" in PAGE
