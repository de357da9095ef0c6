"""The README's example for whole models, with the models that it names."""

from pathlib import Path

import pytest
from model_serving import serving_models
from packaged import packaged
from readme import example_with


def test_the_example_of_the_readme_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It runs as it stands, and the translation is the one that stands after it."""
    for name in ("minilm", "smollm2", "enpt"):
        (tmp_path / name).symlink_to(packaged(name))
    snippet = example_with("client.embed(")
    with serving_models(tmp_path) as server:
        exec(compile(snippet.replace("localhost:50051", server.address), "snippet", "exec"), {})  # noqa: S102
        assert server.stop() == 0
    printed = capsys.readouterr().out
    assert printed.endswith("Eu amo ursos.\n")
    assert "Usage(input_tokens=" in printed
