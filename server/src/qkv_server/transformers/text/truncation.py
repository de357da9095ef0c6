"""Texts that are longer than a model reads."""

from itertools import takewhile

from qkv_server.transformers.text.tokenizer import Encoding


def truncated(encoding: Encoding, tokens: int) -> Encoding:
    """The encoding, cut to so many tokens: the special ones around the text stay, the end of the text goes."""
    excess = len(encoding.ids) - tokens
    if excess <= 0:
        return encoding
    after = sum(1 for _ in takewhile(bool, reversed(encoding.special)))
    end = max(len(encoding.ids) - after, excess)
    kept = [*range(end - excess), *range(end, len(encoding.ids))]
    return Encoding(
        ids=[encoding.ids[place] for place in kept],
        pieces=[encoding.pieces[place] for place in kept],
        offsets=[encoding.offsets[place] for place in kept],
        special=[encoding.special[place] for place in kept],
    )
