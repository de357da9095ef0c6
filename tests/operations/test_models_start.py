"""What a server needs for models, and what it does not."""

import subprocess
import sys
from pathlib import Path

import pytest
from serving import SECONDS, ServerProcess

HIDING = """
import sys
sys.modules[sys.argv.pop(1)] = None  # as if it were not installed
from qkv_server.command import main
main(prog_name="qkv-server")
"""
LISTING = """
import sys
import qkv_server.command
print([name for name in ("tokenizers", "safetensors", "gguf", "jinja2") if name in sys.modules])
"""


@pytest.mark.parametrize("package", ["tokenizers", "jinja2"])
def test_a_missing_package_is_named(package: str, tmp_path: Path) -> None:
    """Without the extra `models` the setting is refused in one line, which says how to install it."""
    command = [sys.executable, "-c", HIDING, package, "serve", "--address", "127.0.0.1:0", "--models", str(tmp_path)]
    said = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert said.returncode == 1
    assert said.stderr == f"qkv-server: --models needs the package {package}: pip install 'qkv-server[models]'\n"


def test_without_the_setting_nothing_of_it_is_needed() -> None:
    """Neither the command nor a server without --models loads what the extra brings."""
    listed = subprocess.run(
        [sys.executable, "-c", LISTING], capture_output=True, text=True, timeout=SECONDS, check=True
    )
    assert listed.stdout == "[]\n"
    with ServerProcess(program=("-c", HIDING, "tokenizers")) as server:
        assert server.stop() == 0


def test_an_empty_folder_is_served(tmp_path: Path) -> None:
    """A folder without models is served, and hidden files in it are none."""
    (tmp_path / ".cache").mkdir()
    with ServerProcess(["--models", str(tmp_path)]) as server:
        assert server.stop() == 0
    assert "Traceback" not in server.log
