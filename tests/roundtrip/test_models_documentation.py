"""The examples of the READMEs for whole models, with the models that they name."""

import re
from pathlib import Path

import pytest
from model_serving import serving_models
from packaged import packaged
from readme import README, example_with


@pytest.mark.parametrize(
    ("readme", "end"),
    [(README, r"Eu amo ursos\.\n"), (README.parent / "client" / "README.md", r"Usage\(input_tokens=.*\)\n")],
    ids=["project", "client"],
)
def test_the_example_of_a_readme_runs(
    readme: Path, end: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It runs as it stands, tells what its answer took, and the translation is the one that stands after it."""
    for name in ("minilm", "smollm2", "enpt"):
        (tmp_path / name).symlink_to(packaged(name))
    snippet = example_with("client.embed(", readme)
    with serving_models(tmp_path) as server:
        exec(compile(snippet.replace("localhost:50051", server.address), "snippet", "exec"), {})  # noqa: S102
        assert server.stop() == 0
    printed = capsys.readouterr().out
    assert re.search(f"{end}$", printed)
    assert "Usage(input_tokens=" in printed
