"""What several tests of the core run under."""

from collections.abc import Iterator

import pytest

from qkv_server.core import pieces, planner


@pytest.fixture(scope="module")
def small_tiles() -> Iterator[None]:
    """Tiles of a few rows and keys, so that small problems have many of them, shared by threads if there are some."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(planner, "TINY", dict.fromkeys(planner.TINY, 0))
        for name, size in {"FEW_ROWS": 1, "TILE_KEYS": 2, "TILE_ROWS": 2, "DECODE_KEYS": 2, "DECODE_SPLIT": 4}.items():
            patch.setattr(planner, name, size)
        patch.setattr(pieces, "PIECES", (1, 2, 2))
        pieces.cut.cache_clear()
        yield
    pieces.cut.cache_clear()
