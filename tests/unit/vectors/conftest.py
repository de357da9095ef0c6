"""A suite as the command writes it, and the command as a function."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from serving import ServerProcess

from qkv.cli.main import main


class Ran(NamedTuple):
    """What running the command did."""

    status: int
    out: str
    err: str


Run = Callable[..., Ran]


@pytest.fixture(scope="session")
def suite(server: ServerProcess, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The whole suite; tests leave it as it is."""
    folder = tmp_path_factory.mktemp("vectors")
    assert main(["vectors", str(folder), "--target", server.address]) == 0
    return folder


@pytest.fixture
def run(server: ServerProcess, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs `qkv vectors` with arguments; its server is the one of the tests, unless they say another."""

    def run_main(*arguments: object) -> Ran:
        capsys.readouterr()
        try:
            status = main(["vectors", "--target", server.address, *map(str, arguments)])
        except SystemExit as ended:  # argparse ends so
            status = int(ended.code or 0)
        said = capsys.readouterr()
        return Ran(status, said.out, said.err)

    return run_main
