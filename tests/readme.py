"""The examples of the README, for tests that run them."""

import re
from pathlib import Path

README = Path(__file__).parents[1] / "README.md"


def example_with(call: str) -> str:
    """The one example fenced as `py`, which needs more than a server, in which a call stands."""
    (found,) = (each for each in re.findall(r"```py\n(.*?)```", README.read_text("utf-8"), re.DOTALL) if call in each)
    return str(found)
