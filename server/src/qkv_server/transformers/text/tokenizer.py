"""From text to tokens and back, by the `tokenizers` library."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import tokenizers

from qkv_server.transformers.errors import ModelFileError, TextError


@dataclass(frozen=True, slots=True)
class Encoding:
    """The L tokens of a text."""

    ids: list[int]
    pieces: list[str]  # of the vocabulary
    offsets: list[tuple[int, int]]  # begin and end in code points of the text; equal for what no text made
    special: list[bool]  # whether it is none of the text's own


@dataclass(frozen=True, slots=True)
class Tokenizer:
    """A tokenizer, its special tokens by role (bos_token, eos_token, pad_token …), and the template of chats if any.

    Texts are never cut nor padded here, whatever tokenizer.json says: how much a model reads is the model's matter.
    """

    backend: tokenizers.Tokenizer
    special_tokens: Mapping[str, str] = field(default_factory=dict)
    chat_template: str | None = None

    def __post_init__(self) -> None:
        self.backend.no_truncation()
        self.backend.no_padding()

    @classmethod
    def from_file(cls, path: Path, special_tokens: Mapping[str, str] | None = None) -> "Tokenizer":
        """The tokenizer of a tokenizer.json. Raises ModelFileError."""
        try:
            backend = tokenizers.Tokenizer.from_file(str(path))
        except Exception as error:  # the library raises nothing narrower
            raise ModelFileError(path, f"is no tokenizer: {error}") from error
        return cls(backend, special_tokens or {})

    @property
    def highest_id(self) -> int:
        """The largest number of a token; −1 if there are none."""
        return max(self.backend.get_vocab(with_added_tokens=True).values(), default=-1)

    @property
    def special_ids(self) -> Mapping[str, int]:
        """The numbers of the special tokens by role; of those that the vocabulary has."""
        numbers = {role: self.backend.token_to_id(token) for role, token in self.special_tokens.items()}
        return {role: number for role, number in numbers.items() if number is not None}

    def encode(self, text: str, special_tokens: bool = True) -> Encoding:
        """The tokens of a text, with those that the model expects around it. Raises TextError."""
        return self.encode_batch([text], special_tokens)[0]

    def encode_batch(self, texts: Sequence[str], special_tokens: bool = True) -> list[Encoding]:
        """The tokens of each text. Raises TextError."""
        for text in texts:
            _check(text)
        encodings = self.backend.encode_batch(list(texts), add_special_tokens=special_tokens)
        return [
            # The library's own list of pieces has the text in place of the unknown token.
            Encoding(
                one.ids, list(map(self.piece, one.ids)), one.offsets, [flag == 1 for flag in one.special_tokens_mask]
            )
            for one in encodings
        ]

    def decode(self, ids: Sequence[int], special_tokens: bool = False) -> str:
        """The text of tokens, with the special ones written or left out. Raises TextError for no such tokens."""
        for position, number in enumerate(ids):
            if not 0 <= number < 2**31 or self.backend.id_to_token(number) is None:
                raise TextError(f"token {position} is {number}, which the vocabulary has not")
        # The library knows only those special tokens that were added to the vocabulary.
        left_out = set() if special_tokens else set(self.special_ids.values())
        written = [number for number in ids if number not in left_out]
        return self.backend.decode(written, skip_special_tokens=not special_tokens)

    def piece(self, number: int) -> str:
        """The piece of the vocabulary with this number; empty if it has none."""
        return self.backend.id_to_token(number) or ""


def _check(text: str) -> None:
    """Refuse what is no Unicode text: halves of surrogate pairs."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        code = ord(text[error.start])
        raise TextError(f"character {error.start} is U+{code:04X}, half of a surrogate pair") from None
