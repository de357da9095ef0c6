"""What of an answer may be told: nothing of a stop string, whole characters, and never anything that changes later."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qkv_server.transformers.text.detokenization import Detokenizer
from qkv_server.transformers.text.stopping import StopStrings

from .echo_model import Bytes

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


def told(stops: Sequence[str], pieces: Sequence[str]) -> list[str]:
    """What comes after each piece, and at the end."""
    scanner = StopStrings(stops)
    return [*map(scanner.add, pieces), scanner.end()]


def written(ids: Sequence[int]) -> list[str]:
    """What comes after each token, and at the end."""
    detokenizer = Detokenizer(Bytes())
    return [*(detokenizer.add([token]) for token in ids), detokenizer.end()]


@pytest.mark.parametrize(
    ("stops", "pieces", "expected"),
    [
        (["stop"], ["go", "st", "op", "on"], ["go", "", "", "", ""]),
        (["stop"], ["go st", "ay"], ["go ", "stay", ""]),
        (["stop"], ["sto"], ["", "sto"]),
        (["aab"], ["aaab"], ["a", ""]),
        (["aab"], ["a", "a", "a", "b"], ["", "", "a", "", ""]),
        (["\n\n", "User:"], ["one\n", "two\nUs", "er: three"], ["one", "\ntwo\n", "", ""]),
        (["xab", "b"], ["xab"], ["", ""]),
        (["abcd", "b"], ["abcd"], ["a", ""]),
        ([], ["any", "thing"], ["any", "thing", ""]),
    ],
)
def test_text_is_held_back_while_it_may_become_a_stop_string(
    stops: list[str], pieces: list[str], expected: list[str]
) -> None:
    """What may begin a stop string waits; it is let go when it does not, and dropped when it does."""
    assert told(stops, pieces) == expected


letters = st.text("ab", max_size=12)


@given(st.lists(st.text("ab", min_size=1, max_size=4), max_size=3), st.lists(letters, max_size=6))
def test_stopping_does_not_depend_on_how_a_text_is_cut(stops: list[str], pieces: list[str]) -> None:
    """Told in any pieces, a text ends before the stop string that is complete first, or not at all."""
    text = "".join(pieces)
    ends = [end for end in range(len(text) + 1) if any(text[:end].endswith(stop) for stop in stops)]
    longest = max((len(stop) for stop in stops if ends and text[: ends[0]].endswith(stop)), default=0)
    expected = text[: ends[0] - longest] if ends else text
    assert "".join(told(stops, pieces)) == expected
    assert "".join(told(stops, list(text))) == expected


@given(st.lists(st.text("ab", min_size=1, max_size=4), min_size=1, max_size=3), st.lists(letters, max_size=6))
def test_no_more_is_held_back_than_may_become_a_stop_string(stops: list[str], pieces: list[str]) -> None:
    """After each piece, what was not told yet is the beginning of a stop string."""
    scanner, so_far, given_out = StopStrings(stops), "", ""
    for piece in pieces:
        so_far += piece
        given_out += scanner.add(piece)
        if not scanner.stopped:
            assert so_far.startswith(given_out)
            assert any(stop.startswith(so_far[len(given_out) :]) for stop in stops)


@given(st.text(st.characters(codec="utf-8")))
def test_characters_come_whole_and_at_their_last_byte(text: str) -> None:
    """Of text in bytes, each character comes with its last byte, and nothing comes with the others."""
    expected = [piece for character in text for piece in [*[""] * (len(character.encode()) - 1), character]]
    held = REPLACEMENT in text  # it looks like a character that is not finished, and may come later
    pieces = written(list(text.encode()))
    assert "".join(pieces) == text
    assert held or pieces == [*expected, ""]


@given(st.binary(max_size=60))
def test_whatever_bytes_come_the_pieces_are_the_text(data: bytes) -> None:
    """Broken UTF-8 too is told in pieces that join to the text of all bytes."""
    assert "".join(written(list(data))) == data.decode(errors="replace")


@given(st.lists(st.binary(max_size=9), max_size=9))
def test_tokens_may_come_several_at_a_time(runs: list[bytes]) -> None:
    """However many tokens come at a time, the pieces are the text of all."""
    detokenizer = Detokenizer(Bytes())
    told = "".join([*map(detokenizer.add, runs), detokenizer.end()])
    assert told == b"".join(runs).decode(errors="replace")


def test_a_character_that_stays_unfinished_is_told_at_the_end() -> None:
    """The beginning of a character waits for the rest, and is told as a replacement character when none comes."""
    bear = "🐻".encode()
    assert written([*b"a", *bear[:3]]) == ["a", "", "", "", REPLACEMENT]
    assert written([*b"a", *bear[:2], *b"b"]) == ["a", "", "", REPLACEMENT + "b", ""]


class Words:
    """Writes no space before the first word, as SentencePiece tokenizers do; and 0 is special."""

    def decode(self, ids: Sequence[int]) -> str:
        return " ".join(f"word{number}" for number in ids if number)


@given(st.lists(st.integers(0, 3), max_size=20))
def test_spaces_between_tokens_are_kept(ids: list[int]) -> None:
    """Where a decoder leaves out the space before a first token, the pieces have it between tokens."""
    detokenizer = Detokenizer(Words())
    assert "".join([*(detokenizer.add([token]) for token in ids), detokenizer.end()]) == Words().decode(ids)


class ByteFallback:
    """Writes each byte of a run that is no UTF-8 as a replacement character, as Llama's tokenizers do."""

    def decode(self, ids: Sequence[int]) -> str:
        data = bytes(ids)
        try:
            return data.decode()
        except UnicodeDecodeError:
            return REPLACEMENT * len(data)


@given(st.text(st.characters(codec="utf-8", exclude_characters=REPLACEMENT)))
def test_runs_of_bytes_are_told_character_by_character(text: str) -> None:
    """Where an unfinished character spoils the text of a whole run, the run is told character by character."""
    detokenizer = Detokenizer(ByteFallback())
    pieces = [detokenizer.add([byte]) for byte in text.encode()]
    assert [piece for piece in pieces if piece] == list(text)


@given(st.text(st.characters(codec="utf-8"), max_size=40))
def test_a_byte_level_tokenizer_is_told_as_it_decodes(text: str) -> None:
    """The pieces of a byte-level BPE tokenizer's tokens join to what it decodes of all of them."""
    tokenizers = pytest.importorskip("tokenizers")
    backend = tokenizers.Tokenizer(tokenizers.models.BPE())
    backend.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = tokenizers.decoders.ByteLevel()
    alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    trainer = tokenizers.trainers.BpeTrainer(vocab_size=300, initial_alphabet=alphabet, show_progress=False)
    backend.train_from_iterator(["the bears 🐻🐻 and the bär", "the bear ß"], trainer)
    detokenizer = Detokenizer(backend)
    ids = backend.encode(text).ids
    assert "".join([*(detokenizer.add([token]) for token in ids), detokenizer.end()]) == backend.decode(ids)
