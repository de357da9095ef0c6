"""What is asked of an answer, whatever the sampling: the tokens that may not come next.

As the logits processors of the `transformers` library have it: NoRepeatNGramLogitsProcessor, MinLengthLogitsProcessor,
NoBadWordsLogitsProcessor, SuppressTokensLogitsProcessor, ForcedEOSTokenLogitsProcessor. What the files of a model ask
for is read by `families.constraints`.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain


@dataclass(frozen=True, slots=True, kw_only=True)
class Constraints:
    """The tokens that count are those that the decoder has read: a prompt, or what an encoder-decoder begins with."""

    no_repeat: int = 0  # so many tokens in a row come once at most; 0: any
    least_tokens: int = 0  # of which no answer ends before there are so many, the decoder's first included …
    least_new_tokens: int = 0  # … or before it has so many of its own
    banned: tuple[tuple[int, ...], ...] = ()  # tokens that never come in a row
    forced_end: int | None = None  # the last token of an answer that would be cut


NONE = Constraints()


class Forbidden:
    """The tokens that constraints leave no place for, as an answer grows."""

    def __init__(self, wanted: Constraints, before: Sequence[int], end_ids: frozenset[int]) -> None:
        """`before` are the tokens that the decoder has read."""
        self._wanted = wanted
        self._end_ids = end_ids
        self._ids: list[int] = []
        self._followers: defaultdict[tuple[int, ...], set[int]] = defaultdict(set)  # of runs of one token less
        self._least = max(wanted.least_tokens, len(before) + wanted.least_new_tokens)
        for token in before:
            self.add(token)

    def add(self, token: int) -> None:
        """A token has come."""
        if self._wanted.no_repeat and len(self._ids) >= self._wanted.no_repeat - 1:
            self._followers[self._last(self._wanted.no_repeat - 1)].add(token)
        self._ids.append(token)

    def next(self) -> list[int]:
        """The tokens that may not come next, some of them twice."""
        return list(chain.from_iterable(self._next()))

    def _next(self) -> Iterator[Sequence[int] | set[int] | frozenset[int]]:
        if len(self._ids) < self._least:
            yield self._end_ids
        if self._wanted.no_repeat:
            yield self._followers.get(self._last(self._wanted.no_repeat - 1), ())
        for *begin, last in self._wanted.banned:
            if self._last(len(begin)) == tuple(begin):
                yield (last,)

    def _last(self, count: int) -> tuple[int, ...]:
        return tuple(self._ids[len(self._ids) - count :]) if count <= len(self._ids) else ()
