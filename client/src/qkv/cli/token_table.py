"""The tokens of a text as a table."""

from collections.abc import Sequence

from qkv import Token, TokenLabel


def token_table(text: str, tokens: Sequence[Token], labels: Sequence[TokenLabel] = ()) -> str:
    """A line for each token: its number, its piece, the label that it has, if any, and where in its text it is from."""
    said = [f"{label.label} {label.probability:.3f}" for label in labels] or [""] * len(tokens)
    cells = [(str(token.id), token.piece, label) for token, label in zip(tokens, said, strict=True)]
    id_width, piece_width, label_width = (max((len(row[column]) for row in cells), default=0) for column in range(3))
    return "\n".join(
        f"  {number:>{id_width}}  {piece:<{piece_width}}  "
        + (f"{label:<{label_width}}  " if labels else "")
        + _place(text, token)
        for (number, piece, label), token in zip(cells, tokens, strict=True)
    )


def _place(text: str, token: Token) -> str:
    return "special" if token.special else f"{token.begin}:{token.end} {text[token.begin : token.end]!r}"
