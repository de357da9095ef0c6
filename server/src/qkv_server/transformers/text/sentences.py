"""Long texts in parts: at the ends of sentences, and so that the parts and the white space between them are the text.

Where sentences end is decided by rules, which know no language but many abbreviations: terminators before white space
and no small letter, unless an abbreviation, an initial or the number of a list item stands before the full stop.
A line break always ends a part: headings, verses and items of lists are texts of their own.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

Count = Callable[[str], int]  # the tokens of a text

# A full stop after one of these ends no sentence: titles, and words that stand before a name.
# fmt: off
BEFORE_NAMES = {
    "mr", "mrs", "ms", "mx", "dr", "prof", "rev", "hon", "st", "sgt", "capt", "col", "gen", "lt", "cmdr",
    "sr", "sra", "srta", "dra", "profa", "fr", "hr", "messrs", "mme", "mlle", "al", "vs", "cf", "viz", "bzw",
}
# After one of these none, if a number follows.
BEFORE_NUMBERS = {
    "no", "nos", "nr", "nº", "núm", "fig", "figs", "eq", "art", "sec", "ch", "cap", "vol", "bd", "p", "pp", "ed", "ver",
    "abs", "tel",
}
# fmt: on
LONGEST_WORD = 16  # before a full stop, that is looked at

STOPS = ".!?…؟۔"
CLOSING = "\"'”’»›)\\]}）」』】》〉"
OPENING = "\"'“‘«‹(\\[{¿¡（「『【《〈„"

# Runs are entered at their beginning and never given back, so that the time is linear in the text.
_END = re.compile(
    rf"""
      (?<! [^\S\n] ) [^\S\n]*+ (?P<line> \n ) \s*+
    | (?P<wide> [。！？｡．।॥]++ [{CLOSING}]*+ ) \s*+  # scripts that need no space between sentences
    | (?<! [{STOPS}] ) (?P<stop> [{STOPS}]++ [{CLOSING}]*+ ) (?P<space> \s++ ) (?= [{OPENING}]*+ (?P<next> . ) )
    """,
    re.VERBOSE | re.DOTALL,
)
_BEFORE_WORD = re.compile(rf"[\s{OPENING}]")
_INITIALS = re.compile(r"(?:[^\W\d_]\.)*[^\W\d_]")  # J, or U.S
_SPACE = re.compile(r"\s+")
_LAST_SPACE = re.compile(r"(?<=\S)\s+(?=\S*\Z)")


class Part(NamedTuple):
    """A part of a text, and the white space that follows it there."""

    text: str
    space: str


def sentences(text: str) -> list[Part]:
    """The sentences of a text. The texts and spaces of the parts, joined, are the text.

    A text that begins with white space begins with a part whose text is empty.
    """
    leading = len(text) - len(text.lstrip())
    parts = [Part("", text[:leading])] if leading else []
    begin = leading
    for end in _END.finditer(text, leading):
        if end["stop"] is None or _ends_sentence(text, begin, end):
            body = len(text[begin : end.end()].rstrip())
            parts.append(Part(text[begin : begin + body], text[begin + body : end.end()]))
            begin = end.end()
    if begin < len(text):
        body = len(text[begin:].rstrip())
        parts.append(Part(text[begin : begin + body], text[begin + body :]))
    return parts


def fitting(parts: Iterable[Part], count: Count, most: int) -> Iterator[Part]:
    """The parts, of which those with more than `most` tokens are cut: at white space, at worst between characters.

    A single character is never cut, however many tokens it takes.
    """
    for part in parts:
        if count(part.text) <= most:
            yield part
        else:
            yield from _cut(part, lambda text: count(text) <= most)


def packed(parts: Iterable[Part], count: Count, most: int) -> Iterator[Part]:
    """Neighbours joined into parts of at most `most` tokens; a part that has more by itself stays alone."""
    pack: list[Part] = []
    tokens = 0
    for part in parts:
        more = count(part.text + part.space)
        if pack and (tokens + more > most or not pack[0].text):
            yield from _within(pack, count, most)
            pack, tokens = [], 0
        pack.append(part)
        tokens += more
    if pack:
        yield from _within(pack, count, most)


def _ends_sentence(text: str, begin: int, end: re.Match[str]) -> bool:
    """Whether the terminator that was found ends the sentence that begins at `begin`."""
    if "\n" in end["space"]:
        return True
    if end["next"].islower():
        return False
    if end["stop"] != ".":  # no abbreviation ends with another
        return True
    stop = end.start("stop")
    word = _BEFORE_WORD.split(text[max(begin, stop - LONGEST_WORD) : stop])[-1].lower()
    if word.isdigit():
        return stop - len(word) > begin  # else the number of an item: "1. First"
    if word in BEFORE_NUMBERS:
        return not end["next"].isdigit()
    return word not in BEFORE_NAMES and not _INITIALS.fullmatch(word)


def _cut(part: Part, fits: Callable[[str], bool]) -> Iterator[Part]:
    text, begin = part.text, 0
    while (end := _reach(text, begin, fits)) < len(text):
        last = _LAST_SPACE.search(text, begin, end + 1)
        space = _SPACE.match(text, last.start()) if last else None
        if space and begin < space.start() and fits(text[begin : space.start()]):
            yield Part(text[begin : space.start()], space[0])
            begin = space.end()
        else:
            yield Part(text[begin:end], "")
            begin = end
    yield Part(text[begin:], part.space)


def _reach(text: str, begin: int, fits: Callable[[str], bool]) -> int:
    """Up to where the text from `begin` on fits; behind one character at least."""
    reached, step = begin + 1, 64
    while reached < len(text) and fits(text[begin : min(reached + step, len(text))]):
        reached, step = min(reached + step, len(text)), 2 * step
    beyond = min(reached + step, len(text) + 1)  # fits no more, or is behind the text
    while beyond - reached > 1:
        middle = (reached + beyond) // 2
        if fits(text[begin:middle]):
            reached = middle
        else:
            beyond = middle
    return reached


def _within(pack: list[Part], count: Count, most: int) -> Iterator[Part]:
    """The pack as one part, or in halves if its parts together have more tokens than their sum."""
    joined = Part("".join(text + space for text, space in pack[:-1]) + pack[-1].text, pack[-1].space)
    if len(pack) == 1 or count(joined.text) <= most:
        yield joined
    else:
        half = len(pack) // 2
        yield from _within(pack[:half], count, most)
        yield from _within(pack[half:], count, most)
