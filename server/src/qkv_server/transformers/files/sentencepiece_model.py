"""The model files of SentencePiece: pieces with their scores, and how texts are normalized.

They are messages of protocol buffers (https://github.com/google/sentencepiece, src/sentencepiece_model.proto). What is
read of them is declared here; other fields are skipped.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from functools import cache
from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message, message_factory

from qkv_server.transformers.errors import ModelFileError

_Field = descriptor_pb2.FieldDescriptorProto
_PACKAGE = "qkv.sentencepiece"
# Message → field → its number, and its type or that of its messages.
_FIELDS: Mapping[str, Mapping[str, tuple[int, Any]]] = {
    "Piece": {"piece": (1, _Field.TYPE_STRING), "score": (2, _Field.TYPE_FLOAT), "type": (3, _Field.TYPE_INT32)},
    "Trainer": {
        "model_type": (3, _Field.TYPE_INT32),
        "treat_whitespace_as_suffix": (24, _Field.TYPE_BOOL),
        "byte_fallback": (35, _Field.TYPE_BOOL),
    },
    "Normalizer": {
        "precompiled_charsmap": (2, _Field.TYPE_BYTES),
        "add_dummy_prefix": (3, _Field.TYPE_BOOL),
        "remove_extra_whitespaces": (4, _Field.TYPE_BOOL),
        "escape_whitespaces": (5, _Field.TYPE_BOOL),
    },
    "Model": {"pieces": (1, "Piece"), "trainer_spec": (2, "Trainer"), "normalizer_spec": (3, "Normalizer")},
}
_DEFAULTS = {"type": "1", "model_type": "1"} | dict.fromkeys(
    ("add_dummy_prefix", "remove_extra_whitespaces", "escape_whitespaces"), "true"
)
_REPEATED = {"pieces"}
_UNIGRAM, _BPE = 1, 2  # model_type


class Kind(IntEnum):
    """The types of pieces; llama.cpp has the same."""

    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    USER_DEFINED = 4
    UNUSED = 5
    BYTE = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class SentencePieceModel:
    """A vocabulary by number, and how a text becomes pieces of it."""

    pieces: tuple[str, ...]
    scores: tuple[float, ...]
    kinds: tuple[int, ...]  # `Kind`s
    unknown: int  # the number of the piece for what no other piece spells
    unigram: bool  # the likeliest pieces by their scores; else pairs are merged, the highest score first
    byte_fallback: bool  # what no piece spells is spelled by those of bytes
    characters: bytes = b""  # what characters are replaced by: SentencePiece's map, compiled; empty: by nothing
    space_before: bool = True  # a space is put before the text
    spaces_trimmed: bool = False  # runs of spaces become one, and those around the text none


def read(path: Path) -> SentencePieceModel:
    """The model in a file. Raises ModelFileError."""
    proto = _message_class()()
    try:
        proto.ParseFromString(path.read_bytes())
    except message.DecodeError as error:
        raise ModelFileError(path, "is truncated, or no model of SentencePiece") from error
    pieces, trainer, normalizer = proto.pieces, proto.trainer_spec, proto.normalizer_spec
    kinds = tuple(piece.type for piece in pieces)
    if Kind.UNKNOWN not in kinds:
        raise ModelFileError(
            path, f"is no vocabulary of SentencePiece: none of its {len(pieces)} pieces is for the unknown"
        )
    if trainer.model_type not in (_UNIGRAM, _BPE):
        raise ModelFileError(path, f"its model_type is {trainer.model_type}, expected 1 (unigram) or 2 (BPE)")
    if trainer.treat_whitespace_as_suffix or not normalizer.escape_whitespaces:
        raise ModelFileError(path, "its pieces have spaces behind words, or as they are; expected ▁ before words")
    return SentencePieceModel(
        pieces=tuple(piece.piece for piece in pieces),
        scores=tuple(piece.score for piece in pieces),
        kinds=kinds,
        unknown=kinds.index(Kind.UNKNOWN),
        unigram=trainer.model_type == _UNIGRAM,
        byte_fallback=trainer.byte_fallback,
        characters=normalizer.precompiled_charsmap,
        space_before=normalizer.add_dummy_prefix,
        spaces_trimmed=normalizer.remove_extra_whitespaces,
    )


@cache
def _message_class() -> Any:
    """The class of `Model` messages: made when it is needed first."""
    file = descriptor_pb2.FileDescriptorProto(name="qkv/sentencepiece.proto", package=_PACKAGE, syntax="proto2")
    for name, fields in _FIELDS.items():
        declared = file.message_type.add(name=name)
        for field, (number, kind) in fields.items():
            nested = isinstance(kind, str)
            declared.field.add(
                name=field,
                number=number,
                label=_Field.LABEL_REPEATED if field in _REPEATED else _Field.LABEL_OPTIONAL,
                type=_Field.TYPE_MESSAGE if nested else kind,
                type_name=f".{_PACKAGE}.{kind}" if nested else None,
                default_value=_DEFAULTS.get(field),
            )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.Model"))
