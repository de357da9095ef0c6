"""SentencePiece's vocabularies as tokenizers of the `tokenizers` library."""

import tokenizers
from tokenizers import AddedToken, Regex, decoders, models, normalizers

from qkv_server.transformers.files.sentencepiece_model import Kind, SentencePieceModel

_SPACE = "▁"  # how pieces spell a space


def tokenizer(said: SentencePieceModel) -> tokenizers.Tokenizer:
    """The tokenizer of a vocabulary; it adds no tokens to a text.

    Special tokens are read where a text spells them out. Raises Exception for what the library refuses.
    """
    backend = tokenizers.Tokenizer(_unigram(said) if said.unigram else _pairs(said))
    backend.normalizer = normalizers.Sequence(_normalizers(said))
    backend.decoder = decoders.Sequence(
        [decoders.Replace(_SPACE, " "), decoders.ByteFallback(), decoders.Fuse()]
        + [decoders.Strip(" ", 1, 0)] * said.space_before
    )
    backend.add_tokens(_added(said))
    return backend


def _added(said: SentencePieceModel) -> list[AddedToken]:
    """Pieces that are never cut nor merged, in the order of the numbers that the vocabulary has already given them.

    In BPE these are also the user's symbols, which among unigrams stand out by their score. They are found in the
    normalized text, as SentencePiece does; but in the text as it is where a space is put before it, which the library
    would put before a symbol as well.
    """
    kinds = {Kind.CONTROL} if said.unigram else {Kind.CONTROL, Kind.USER_DEFINED}
    return [
        AddedToken(piece, special=kind == Kind.CONTROL, normalized=kind == Kind.USER_DEFINED and not said.space_before)
        for piece, kind in zip(said.pieces, said.kinds, strict=True)
        if kind in kinds
    ]


def _normalizers(said: SentencePieceModel) -> list[normalizers.Normalizer]:
    """What SentencePiece does to a text before it cuts it.

    One thing differs: the library drops a combining mark behind a character that the map replaces.
    """
    steps: list[normalizers.Normalizer] = []
    if said.characters:
        steps.append(normalizers.Precompiled(said.characters))
    if said.spaces_trimmed:
        steps += [normalizers.Replace(Regex("^ +| +$"), ""), normalizers.Replace(Regex(" {2,}"), " ")]
    if said.space_before:
        steps.append(normalizers.Prepend(_SPACE))
    return [*steps, normalizers.Replace(" ", _SPACE)]


def _unigram(said: SentencePieceModel) -> models.Unigram:
    """The pieces of a text whose scores have the largest sum (Kudo, 2018)."""
    return models.Unigram(list(zip(said.pieces, said.scores, strict=True)), said.unknown, said.byte_fallback)


def _pairs(said: SentencePieceModel) -> models.BPE:
    """Pairs are merged by the score of what they become; the library wants them in that order."""
    normal = {piece for piece, kind in zip(said.pieces, said.kinds, strict=True) if kind == Kind.NORMAL}
    merges = [
        (score, piece[:cut], piece[cut:])
        for piece, score in zip(said.pieces, said.scores, strict=True)
        if piece in normal
        for cut in range(1, len(piece))
        if piece[:cut] in normal and piece[cut:] in normal
    ]
    merges.sort(key=lambda merge: -merge[0])
    return models.BPE(
        vocab={piece: number for number, piece in enumerate(said.pieces)},
        merges=[(left, right) for _, left, right in merges],
        unk_token=said.pieces[said.unknown],
        fuse_unk=True,
        byte_fallback=said.byte_fallback,
    )
