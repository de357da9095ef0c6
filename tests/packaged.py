"""Models that come as packages, for tests that are skipped where these are not installed."""

from pathlib import Path

import pytest

from qkv_server.packaged_models import PACKAGED, packaged_model


def packaged(name: str) -> Path:
    """The files of one of `PACKAGED`; skips the test if its package is not installed."""
    path = packaged_model(name)
    if path is None:
        pytest.skip(f"the package {PACKAGED[name][0]} is not installed: make models")
    return path
