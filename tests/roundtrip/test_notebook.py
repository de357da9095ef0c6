"""examples/notebook.ipynb, run as a reader runs it: in a kernel of its own, from the first cell to the last."""

import json
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient
from serving import SECONDS

NOTEBOOK = Path(__file__).parents[2] / "examples" / "notebook.ipynb"


@pytest.fixture
def notebook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The notebook, whose kernel leaves nothing in the home of whoever runs the tests."""
    for directory in ("IPYTHONDIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR"):
        monkeypatch.setenv(directory, str(tmp_path / directory))
    return nbformat.read(NOTEBOOK, as_version=4)  # type: ignore[no-untyped-call]  # nbformat types only some functions


def run(notebook: Any, **options: Any) -> None:
    """Run every cell. Raises CellExecutionError where one fails, unless the options allow it."""
    NotebookClient(notebook, timeout=SECONDS, kernel_name="python3", **options).execute(cwd=NOTEBOOK.parent)


def test_the_notebook_runs(notebook: Any) -> None:
    """Every cell succeeds without a warning, and the four comparisons are drawn."""
    run(notebook)
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    assert [output.text for output in outputs if output.get("name") == "stderr"] == []
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 4


def test_the_notebook_fails_where_numbers_differ(notebook: Any) -> None:
    """Each cell that asks qkv for something else than was computed by hand fails: the comparisons compare."""
    changes = {
        "by-qkv": ("attention(x, ", "attention(x, scale=1, "),
        "causal": ("causal=True", "causal=False"),
        "hidden": ("causal=True", "causal=False"),
        "heads": ("heads=heads", "heads=2 * heads"),
        "gradients": ("causal=True", "causal=False"),
    }
    for cell in notebook.cells:
        if cell.id in changes:
            before, after = changes[cell.id]
            assert before in cell.source
            cell.source = cell.source.replace(before, after)
    run(notebook, allow_errors=True)
    errors = {
        cell.id: output.ename
        for cell in notebook.cells
        for output in cell.get("outputs", ())
        if output.output_type == "error"
    }
    assert errors == dict.fromkeys(changes, "AssertionError")


def test_the_notebook_is_kept_without_outputs() -> None:
    """What cells put out is not kept, so that it cannot grow old and changes can be read."""
    cells = json.loads(NOTEBOOK.read_text())["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert code
    assert [cell["id"] for cell in code if cell["outputs"] or cell["execution_count"] is not None] == []
