"""The examples of READMEs, for tests that run them."""

import re
from pathlib import Path

README = Path(__file__).parents[1] / "README.md"


def example_with(call: str, readme: Path = README) -> str:
    """The one example fenced as `py`, which needs more than a server, in which a call stands."""
    (found,) = (each for each in re.findall(r"```py\n(.*?)```", readme.read_text("utf-8"), re.DOTALL) if call in each)
    return str(found)
