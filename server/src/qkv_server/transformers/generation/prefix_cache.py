"""What earlier requests have read, for those that begin the same: chats that go on, prompts with a common beginning."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from qkv_server.transformers.stacks.stepping import Stream

SHORTEST_PREFIX = 16  # tokens; to read fewer again costs no more than to copy them


class CopyableStream(Stream, Protocol):
    """A stream of which another can begin."""

    def copy(self, length: int, capacity: int) -> Self:
        """A stream of its own that has read the first `length` tokens of this one."""


S = TypeVar("S", bound=CopyableStream)


@dataclass(frozen=True, slots=True, eq=False)
class Kept(Generic[S]):
    """A stream that has ended, and the tokens that it has read."""

    ids: NDArray[np.int64]
    stream: S


class PrefixCache(Generic[S]):
    """Keeps streams within a budget of bytes; the one that was not used for longest goes first."""

    def __init__(self, budget: int) -> None:
        self._budget = budget
        self._kept: list[Kept[S]] = []  # the one last used is the last
        self.nbytes = 0

    def longest(self, ids: Sequence[int]) -> tuple[S, int] | None:
        """The stream that has most of the beginning of the tokens, and how many; None if that is hardly any.

        Never all of them: the last one is read again, for what follows it.
        """
        wanted = np.asarray(ids[:-1], np.int64)
        best = max(self._kept, key=lambda kept: common(kept.ids, wanted), default=None)
        if best is None or (length := common(best.ids, wanted)) < SHORTEST_PREFIX:
            return None
        self._kept.remove(best)
        self._kept.append(best)
        return best.stream, length

    def keep(self, ids: Sequence[int], stream: S) -> None:
        """Keep a stream, which nobody may change any more, and the tokens that it has read."""
        read = np.asarray(ids[: stream.length], np.int64)
        if stream.nbytes > self._budget or len(read) < SHORTEST_PREFIX:
            return
        if any(common(kept.ids, read) == len(read) for kept in self._kept):
            return  # another one has all of it
        for kept in [kept for kept in self._kept if common(kept.ids, read) == len(kept.ids)]:
            self._drop(kept)  # this one has all of it
        self._kept.append(Kept(read, stream))
        self.nbytes += stream.nbytes
        while self.nbytes > self._budget:
            self._drop(self._kept[0])

    def _drop(self, kept: Kept[Any]) -> None:
        self._kept.remove(kept)
        self.nbytes -= kept.stream.nbytes


def common(one: NDArray[np.int64], other: NDArray[np.int64]) -> int:
    """How many tokens two sequences have in common from the beginning on."""
    length = min(len(one), len(other))
    different = np.flatnonzero(one[:length] != other[:length])
    return int(different[0]) if len(different) else length
