"""Texts in parts: where sentences end, how much a part holds, and that nothing of a text is lost."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qkv_server.transformers.text.sentences import Part, fitting, packed, sentences

COUNTS: dict[str, Callable[[str], int]] = {
    "characters": len,
    "bytes": lambda text: len(text.encode()),
    "words": lambda text: len(text.split()),
}

# Texts with many of the characters that matter here, and any others.
texts = st.text(
    st.one_of(st.sampled_from(list(" \n\t.!?…。」\"')(aA1Mr字é")), st.characters(codec="utf-8")), max_size=80
)
counts = st.sampled_from(sorted(COUNTS)).map(COUNTS.__getitem__)


def joined(parts: list[Part]) -> str:
    return "".join(text + space for text, space in parts)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One. Two! Three? Four", ["One.", "Two!", "Three?", "Four"]),
        ("Dr. Smith met Mrs. Jones. They talked.", ["Dr. Smith met Mrs. Jones.", "They talked."]),
        ("O Sr. Silva chegou. A Sra. Silva também.", ["O Sr. Silva chegou.", "A Sra. Silva também."]),
        ("Some are red, e.g. Mars. It is near.", ["Some are red, e.g. Mars.", "It is near."]),
        ("J. R. R. Tolkien wrote. C.S. Lewis too.", ["J. R. R. Tolkien wrote.", "C.S. Lewis too."]),
        ("It is 3.14 long. That is 2.5 more.", ["It is 3.14 long.", "That is 2.5 more."]),
        (
            "See fig. 3 and no. 7. Is that all? No. It is not.",
            ["See fig. 3 and no. 7.", "Is that all?", "No.", "It is not."],
        ),
        ("It was in 1847. Nobody drowned.", ["It was in 1847.", "Nobody drowned."]),
        ("1. First item\n2. Second item", ["1. First item", "2. Second item"]),
        ('He said "Stop." Then he left.', ['He said "Stop."', "Then he left."]),
        ('"Stop!" he said. (She did.) "Why?"', ['"Stop!" he said.', "(She did.)", '"Why?"']),
        ("Well... maybe. Well... Maybe. Yes… No", ["Well... maybe.", "Well...", "Maybe.", "Yes…", "No"]),
        ("Really?! Yes!!! ok", ["Really?!", "Yes!!! ok"]),
        ("東京は首都です。「はい。」と言った！次", ["東京は首都です。", "「はい。」", "と言った！", "次"]),
        ("यह पहला है। यह दूसरा है।", ["यह पहला है।", "यह दूसरा है।"]),
        ("¿Qué pasa? ¡Nada! Bien.", ["¿Qué pasa?", "¡Nada!", "Bien."]),
        ("A heading\n\nA text. It goes\non", ["A heading", "A text.", "It goes", "on"]),
        ("ends so.\n then small", ["ends so.", "then small"]),
    ],
)
def test_sentences_end_where_readers_say(text: str, expected: list[str]) -> None:
    """Abbreviations, decimals, initials, quotes, ellipses and scripts without spaces are cut as a reader would."""
    assert [part.text for part in sentences(text)] == expected


def test_white_space_is_kept_apart_from_the_sentences() -> None:
    """The white space after a sentence belongs to its part, that before the first to a part without a text."""
    assert sentences(" \tOne.  Two.\n\n Three \n") == [
        ("", " \t"),
        ("One.", "  "),
        ("Two.", "\n\n "),
        ("Three", " \n"),
    ]
    assert sentences("") == []
    assert sentences(" \n") == [("", " \n")]


@given(texts)
def test_sentences_join_to_the_text(text: str) -> None:
    """Nothing is lost or added, whatever the text, and no part but the first is without a text."""
    parts = sentences(text)
    assert joined(parts) == text
    assert all(part.text == part.text.strip() and not part.space.strip() for part in parts)
    assert all(part.text for part in parts[1:])


@given(texts, counts, st.integers(1, 12))
def test_cut_parts_join_to_the_text_and_fit(text: str, count: Callable[[str], int], most: int) -> None:
    """Parts that were too long are cut so that all fit, but for single characters; joined they are the text."""
    parts = list(fitting(sentences(text), count, most))
    assert joined(parts) == text
    assert all(count(part.text) <= most or len(part.text) == 1 for part in parts)


@given(texts, counts, st.integers(1, 40))
def test_packed_parts_join_to_the_text_and_fit(text: str, count: Callable[[str], int], most: int) -> None:
    """Packed parts are the text in order, and none is larger than allowed that was not so by itself."""
    single = sentences(text)
    parts = list(packed(single, count, most))
    assert joined(parts) == text
    assert all(count(part.text) <= most or part in single for part in parts)


def test_a_long_sentence_is_cut_at_white_space() -> None:
    """A sentence that is too long is cut at the last white space that leaves it short enough, else within a word."""
    assert list(fitting([Part("one two  three", "\n")], len, 8)) == [("one two", "  "), ("three", "\n")]
    assert list(fitting([Part("one twothreefour", "")], len, 5)) == [
        ("one", " "),
        ("twoth", ""),
        ("reefo", ""),
        ("ur", ""),
    ]


def test_sentences_are_packed_as_full_as_they_fit() -> None:
    """Neighbours share a part until the next would not fit."""
    assert list(packed(sentences("Aa. Bb. Cc. Dd."), len, 8)) == [("Aa. Bb.", " "), ("Cc. Dd.", "")]


def test_what_counts_more_together_is_packed_less() -> None:
    """Where parts have more tokens together than apart, the pack is halved until it fits."""

    def superlinear(text: str) -> int:
        return len(text) ** 2

    parts = list(packed(sentences("Aa. Bb. Cc. Dd."), superlinear, 50))
    assert joined(parts) == "Aa. Bb. Cc. Dd."
    assert all(superlinear(part.text) <= 50 for part in parts)


@pytest.mark.parametrize("piece", [" ", ".", "!?", "a", ". ", '."', "\n", "(", ". (", "\t\n", "。", "a. A"])
def test_a_long_monotonous_text_takes_linear_time(piece: str) -> None:
    """A megabyte of one pattern is split in parts that join to it (quadratic time would take hours)."""
    text = piece * (2**20 // len(piece))
    assert joined(list(fitting(sentences(text), len, 2000))) == text
