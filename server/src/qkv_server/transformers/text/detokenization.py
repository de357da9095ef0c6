"""The text of a stream as its tokens come: whole characters only, and nothing that was given out changes."""

from collections.abc import Sequence
from typing import Protocol

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
LONGEST_UNFINISHED = 3  # bytes of a character in UTF-8 that are not the whole of it


class Decoder(Protocol):
    """What writes tokens as text: a `tokenizer.Tokenizer`."""

    def decode(self, ids: Sequence[int]) -> str:
        """The text of tokens, without the special ones."""


class Detokenizer:
    """Writes the tokens of one stream as text.

    Decoders look at what stands before a token (some write no space before the first), so the tokens whose text came
    last are decoded again with the new ones, and what follows their text is new. Replacement characters at the end may
    be the beginning of a character, whose other bytes are in tokens to come; they wait.
    """

    def __init__(self, decoder: Decoder) -> None:
        self._decoder = decoder
        self._known: list[int] = []  # tokens whose text was given out last
        self._known_text = ""
        self._new: list[int] = []  # tokens whose text was not given out, or not the whole of it
        self._given = 0  # characters of the text of new tokens that were

    def add(self, tokens: Sequence[int]) -> str:
        """The text that the next tokens finish; it may be empty."""
        self._new += tokens
        text = self._text_of_new()
        finished = len(text) - _unfinished(text)
        piece = text[self._given : finished]
        self._given = max(self._given, finished)
        if piece and finished == len(text):
            self._known, self._new, self._given = self._new, [], 0
            self._known_text = self._decoder.decode(self._known)
        return piece

    def end(self) -> str:
        """The rest, when no more tokens come: characters that were never finished, as replacement characters."""
        return self._text_of_new()[self._given :]

    def _text_of_new(self) -> str:
        text = self._decoder.decode([*self._known, *self._new])
        if text.startswith(self._known_text):
            return text[len(self._known_text) :]
        return self._decoder.decode(self._new)  # an unfinished character changes what some decoders write before it


def _unfinished(text: str) -> int:
    """How many characters at the end of a text may stand for the beginning of one."""
    tail = text[-LONGEST_UNFINISHED:]
    return len(tail) - len(tail.rstrip(REPLACEMENT))
