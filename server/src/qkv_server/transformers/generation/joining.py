"""The answers to the parts of a text as one text, told in order while they come in any order."""

import unicodedata
from collections.abc import Sequence


class JoinedAnswers:
    """Puts answers together with the white space that stood between the parts; their own around them is left out."""

    def __init__(self, spaces: Sequence[str]) -> None:
        """`spaces` follow the parts."""
        self._spaces = spaces
        self._waiting: list[list[str]] = [[] for _ in spaces]
        self._ended = [False] * len(spaces)
        self._current = 0  # the part that is told
        self._held = ""  # white space that may be at the end of its answer
        self._begun = False  # whether anything of its answer was told
        self._last = ""  # the last character that was told

    def add(self, part: int, text: str) -> str:
        """Take the next text of the answer to a part; what can be told now."""
        self._waiting[part].append(text)
        return self._next() if part == self._current else ""

    def end(self, part: int) -> str:
        """Take the end of the answer to a part; what can be told now."""
        self._ended[part] = True
        return self._next() if part == self._current else ""

    def _next(self) -> str:
        told = []
        while self._current < len(self._spaces):
            told.append(self._trimmed("".join(self._waiting[self._current])))
            self._waiting[self._current] = []
            if not self._ended[self._current]:
                break
            told.append(self._spaces[self._current] or self._gap())
            self._current += 1
            self._held, self._begun = "", False
        return "".join(told)

    def _trimmed(self, text: str) -> str:
        """What may be told of the next text of an answer."""
        text = self._held + text
        if not self._begun:
            text = text.lstrip()
        body = text.rstrip()
        self._held = text[len(body) :]
        self._begun = self._begun or bool(body)
        self._last = body[-1:] or self._last
        return body

    def _gap(self) -> str:
        """A space behind an answer, where the text had none there and the script of the answer needs one."""
        is_end = self._current == len(self._spaces) - 1
        return "" if is_end or not self._begun or unicodedata.east_asian_width(self._last) in "WF" else " "
