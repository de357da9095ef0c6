"""Vocabularies as models were published with them before tokenizer.json, each with its way to cut texts.

A builder is given the folder, and what special_tokens_map.json and tokenizer_config.json say, where special tokens are
texts. It raises ModelFileError, or whatever the library does of a broken file.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors

from qkv_server.transformers.files import sentencepiece_model, sentencepiece_tokenizer
from qkv_server.transformers.files.json_file import read_object
from qkv_server.transformers.files.sentencepiece_model import Kind, SentencePieceModel

Said = Mapping[str, Any]

WORD_PIECES, BYTE_PAIRS, FAIRSEQ, MARIAN = (
    ("vocab.txt",),
    ("vocab.json", "merges.txt"),
    ("sentencepiece.bpe.model",),
    ("source.spm", "vocab.json"),
)
T5, LLAMA = ("spiece.model",), ("tokenizer.model",)

_OTHER = -1e6  # the score of a piece that the model of the source has not: taken where none of its own spells a text


def word_pieces(folder: Path, said: Said) -> tokenizers.Tokenizer:
    """BERT's: words and signs, each as its longest pieces."""
    unknown = str(said.get("unk_token", "[UNK]"))
    backend = tokenizers.Tokenizer(models.WordPiece.from_file(str(folder / WORD_PIECES[0]), unk_token=unknown))
    backend.normalizer = normalizers.BertNormalizer(
        lowercase=said.get("do_lower_case", True),
        strip_accents=said.get("strip_accents"),
        handle_chinese_chars=said.get("tokenize_chinese_chars", True),
    )
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.WordPiece()
    return backend


def byte_pairs(folder: Path, said: Said) -> tokenizers.Tokenizer:
    """GPT-2's: words with the space before them, whose bytes are merged in pairs."""
    model = models.BPE.from_file(*(str(folder / name) for name in BYTE_PAIRS))
    backend = tokenizers.Tokenizer(model)
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=said.get("add_prefix_space", False))
    backend.decoder = decoders.ByteLevel()
    return backend


def byte_pairs_trimmed(folder: Path, said: Said) -> tokenizers.Tokenizer:
    """RoBERTa's: the same, where the space is no part of what a token stands for."""
    backend = byte_pairs(folder, said)
    backend.post_processor = processors.ByteLevel(
        add_prefix_space=said.get("add_prefix_space", False), trim_offsets=True
    )
    return backend


def t5(folder: Path, said: Said) -> tokenizers.Tokenizer:  # noqa: ARG001 - as the others
    """SentencePiece's own."""
    return sentencepiece_tokenizer.tokenizer(sentencepiece_model.read(folder / T5[0]))


def llama(folder: Path, said: Said) -> tokenizers.Tokenizer:  # noqa: ARG001 - as the others
    """The same in a file of another name."""
    return sentencepiece_tokenizer.tokenizer(sentencepiece_model.read(folder / LLAMA[0]))


def fairseq(folder: Path, said: Said) -> tokenizers.Tokenizer:
    """XLM-RoBERTa's and mBART's: fairseq put special tokens in place of SentencePiece's, codes of languages behind."""
    model = sentencepiece_model.read(folder / FAIRSEQ[0])
    languages = [token for token in said.get("additional_special_tokens", ()) if token != "<mask>"]  # noqa: S105
    return _renumbered(model, ("<s>", "<pad>", "</s>", "<unk>"), model.pieces[3:], (*languages, "<mask>"))


def camembert(folder: Path, said: Said) -> tokenizers.Tokenizer:  # noqa: ARG001 - as the others
    """CamemBERT's: the same, but SentencePiece's special tokens are left behind fairseq's."""
    model = sentencepiece_model.read(folder / FAIRSEQ[0])
    first = ("<s>NOTUSED", "<pad>", "</s>NOTUSED", "<unk>", "<unk>NOTUSED")
    return _renumbered(model, first, model.pieces[1:], ("<mask>",))


def marian(folder: Path, said: Said) -> tokenizers.Tokenizer:  # noqa: ARG001 - as the others
    """MarianMT's: a list of all pieces; a text is cut by the scores that they have in the model of the source.

    Pieces of that model that are not in the list are no tokens.
    """
    model = sentencepiece_model.read(folder / MARIAN[0])
    vocabulary = read_object(folder / MARIAN[1])
    return _renumbered(model, (), sorted(vocabulary, key=vocabulary.__getitem__), ())


def _renumbered(
    model: SentencePieceModel, first: Sequence[str], middle: Sequence[str], last: Sequence[str]
) -> tokenizers.Tokenizer:
    """The tokenizer whose vocabulary is these pieces in this order, the first and the last special."""
    known = {piece: (score, kind) for piece, score, kind in zip(model.pieces, model.scores, model.kinds, strict=True)}
    said = [*((0.0, Kind.CONTROL) for _ in first), *(known.get(piece, (_OTHER, Kind.NORMAL)) for piece in middle)]
    said += [(0.0, Kind.CONTROL) for _ in last]
    pieces = (*first, *middle, *last)
    return sentencepiece_tokenizer.tokenizer(
        replace(
            model,
            pieces=pieces,
            scores=tuple(score for score, _ in said),
            kinds=tuple(kind for _, kind in said),
            unknown=pieces.index(model.pieces[model.unknown]),
        )
    )
