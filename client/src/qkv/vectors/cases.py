"""Every case of a suite by its name, and the request that it is.

`float32/causal` is a case in a data type, `matrix/walk_through` is typed out, `refused/wrong_shape` must fail.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

import numpy as np
from google.protobuf.message import Message

from qkv import codec
from qkv.vectors import attention_cases, gradient_cases, matrix_cases, merge_cases, rotary_cases
from qkv.vectors.draw import Draw
from qkv.vectors.refusal_cases import REFUSALS
from qkv.vectors.sizes import Sizes
from qkv.vectors.tolerances import BY_TYPE
from qkv.vectors.vector import TIMEOUT, Refusal

TYPES = tuple(codec.DTYPES[data_type].name for data_type in BY_TYPE)
IN_EVERY_TYPE = {
    **attention_cases.SHAPES,
    **attention_cases.PROJECTIONS,
    **attention_cases.VISIBILITY,
    **attention_cases.SCORING,
    **attention_cases.CACHES,
    **attention_cases.PATHS,
    **rotary_cases.ROTARY,
    **gradient_cases.GRADIENTS,
    **merge_cases.MERGES,
}


@dataclass(frozen=True, slots=True)
class Case:
    """A case by its group, a data type, `matrix` or `refused`, and its name in it."""

    group: str
    short: str

    @property
    def name(self) -> str:
        """The name in the suite."""
        return f"{self.group}/{self.short}"

    @property
    def refusal(self) -> Refusal | None:
        """How it must fail, if it must."""
        return REFUSALS[self.short].refusal if self.group == "refused" else None

    @property
    def timeout(self) -> float:
        """The deadline of its call in seconds."""
        return REFUSALS[self.short].timeout if self.group == "refused" else TIMEOUT

    def request(self, sizes: Sizes, seed: int) -> tuple[str, Message]:
        """The method that it calls, and the request with all its operands."""
        if self.group == "matrix":
            return matrix_cases.request_of(self.short)
        refused = self.group == "refused"
        build = REFUSALS[self.short].build if refused else IN_EVERY_TYPE[self.short]
        call = build(Draw(sizes, np.dtype("float32" if refused else self.group), seed, self.name))
        request = call.request.whole()
        if refused:
            REFUSALS[self.short].change(request)
        return call.method.path.rpartition("/")[2], request


GROUPS: Mapping[str, Collection[str]] = {
    **dict.fromkeys(TYPES, IN_EVERY_TYPE),
    "matrix": matrix_cases.MATRICES,
    "refused": REFUSALS,
}


def select(patterns: Collection[str] = ("*",), types: Collection[str] = TYPES) -> list[Case]:
    """The cases whose name matches a pattern, as `float32/rotary*`, but for those in other data types.

    Raises ValueError for a pattern that no case matches.
    """
    cases = [Case(group, short) for group in GROUPS if group not in TYPES or group in types for short in GROUPS[group]]
    for pattern in patterns:
        if not any(fnmatchcase(case.name, pattern) for case in cases):
            raise ValueError(f"no case matches {pattern!r}; the names are as {cases[0].name}, * stands for anything")
    return [case for case in cases if any(fnmatchcase(case.name, pattern) for pattern in patterns)]
