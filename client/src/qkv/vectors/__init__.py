"""Test vectors: calls, and the answers they must have, in files. The command `qkv vectors DIR` writes them.

    with qkv.Client("localhost:50051") as client:
        failed = [outcome for outcome in vectors.check(client, "vectors") if outcome.wrong]

docs/vectors.md has the format. Needs the package safetensors: pip install 'qkv[safetensors]'.
"""

from qkv.vectors.checking import Outcome, check

__all__ = ["Outcome", "check"]
