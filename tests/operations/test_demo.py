"""examples/demo.py, the main job from end to end, as `make demo` runs it."""

import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from serving import SECONDS

DEMO = Path(__file__).parents[2] / "examples" / "demo.py"


def demo(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, str(DEMO), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)


def test_prints_the_walk_through_and_leaves_no_server() -> None:
    """The demo starts a server, prints what it computed, and stops it: nobody listens there afterwards."""
    done = demo()
    assert (done.returncode, done.stderr) == (0, "")
    up = re.match(r"A server is up on (127\.0\.0\.1):(\d+) after ", done.stdout)
    assert up is not None
    for heading in ("1. Matrix X (3×4)", "2. Scores X·Xᵀ", "3. Attention weights", "4. New embeddings", "5. The same"):
        assert f"\n{heading}" in done.stdout
    assert "  I      1.290000  0.790000  1.220000\n" in done.stdout
    assert done.stdout.endswith("\nThe server has stopped with exit status 0.\n")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((up[1], int(up[2])), timeout=SECONDS)


def test_draws(tmp_path: Path) -> None:
    """What is typed after the demo goes to `qkv explain`: here --plot, which writes a picture."""
    picture = tmp_path / "picture.png"
    done = demo("the cat", "--plot", str(picture))
    assert (done.returncode, done.stderr) == (0, "")
    assert 'Self-attention on "the cat"' in done.stdout
    with Image.open(picture) as image:
        assert image.format == "PNG"


def test_hands_on_the_failure_of_explain() -> None:
    """Where `qkv explain` fails, so does the demo, and the server is stopped all the same."""
    done = demo("--heads", "3")
    assert done.returncode == 1
    assert done.stderr.startswith("qkv: --heads: is 3, expected a divisor of 4, ")
    assert "Traceback" not in done.stderr
    assert done.stdout.endswith("\nThe server has stopped with exit status 0.\n")
