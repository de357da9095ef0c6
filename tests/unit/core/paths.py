"""The paths of the core that can answer a problem."""

from qkv_server.core import Path, Problem, check
from qkv_server.core.planner import reference_only

FAST = (Path.BATCHED, Path.TILED, Path.DECODE)


def possible_paths(problem: Problem) -> tuple[Path, ...]:
    """The reference, and the fast ones if it is not alone."""
    return (Path.REFERENCE,) if reference_only(problem, check(problem)) else (Path.REFERENCE, *FAST)
