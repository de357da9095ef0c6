"""Small models of Marian's, written here byte by byte from the description of its format."""

import json
import struct
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

SETTINGS = """dec-cell: ssru
dec-cell-base-depth: 2
dec-depth: 1
dim-vocabs:
  - 7
  - 7
enc-depth: 1
lemma-dim-emb: 0
tied-embeddings-all: true
transformer-decoder-autoreg: rnn
transformer-dim-ffn: 6
transformer-ffn-activation: relu
transformer-ffn-depth: 2
transformer-heads: 2
transformer-no-projection: false
transformer-postprocess: dan
transformer-postprocess-top: ""
transformer-preprocess: ""
transformer-train-position-embeddings: false
type: transformer
version: v1.9.56
"""
FLOAT32, INT8, CHAR = 0x0404, 0x4101, 0x0101

# Type, shape, bytes.
Item = tuple[int, tuple[int, ...], bytes]


def float32(array: npt.ArrayLike) -> Item:
    numbers = np.asarray(array, np.float32)
    return FLOAT32, numbers.shape, numbers.tobytes()


def int8(array: npt.ArrayLike, multiplier: float, shape: tuple[int, ...] | None = None) -> Item:
    """Quantized numbers in the order in which they lie; `shape` is the one that the file says."""
    numbers = np.asarray(array, np.int8)
    return INT8, shape or numbers.shape, numbers.tobytes() + struct.pack("<f", multiplier) + bytes(7)


def text(content: str) -> Item:
    raw = content.encode() + b"\0"
    return CHAR, (len(raw),), raw


def binary(items: Mapping[str, Item], version: int = 1) -> bytes:
    """A file with these items."""
    names = [name.encode() + b"\0" for name in items]
    parts = [struct.pack("<2Q", version, len(items))]
    for name, (kind, shape, data) in zip(names, items.values(), strict=True):
        parts.append(struct.pack("<4Q", len(name), kind, len(shape), len(data)))
    parts += names
    parts += [struct.pack(f"<{len(shape)}i", *shape) for _, shape, _ in items.values()]
    padding = -(sum(map(len, parts)) + 8) % 256
    parts += [struct.pack("<Q", padding), bytes(padding)]
    parts += [data for _, _, data in items.values()]
    return b"".join(parts)


def model(settings: str = SETTINGS) -> dict[str, Item]:
    """The items of a model of one layer each: 7 tokens, 4 features."""
    return {
        "Wemb": int8(np.arange(28).reshape(7, 4), 16.0),
        "decoder_ff_logit_out_b": float32(np.arange(7)[None] / 8),
        "decoder_l1_rnn_Wf": int8(np.arange(16).reshape(4, 4), 2.0),
        "decoder_l1_rnn_Wf_QuantMultA": float32([[3.0]]),
        "encoder_l1_ffn_W1": int8(np.arange(24).reshape(6, 4), 4.0, (4, 6)),
        "encoder_l1_ffn_b1": float32(np.arange(6)[None]),
        "encoder_l1_self_Wq": float32(np.arange(16).reshape(4, 4)),
        "encoder_l1_self_Wo_ln_scale": float32(np.ones((1, 4))),
        "special:model.yml": text(settings),
    }


def write_model(folder: Path, content: bytes, name: str = "model.enpt.intgemm.alphas.bin") -> Path:
    """A folder with a model of this content, and a tokenizer of seven words."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_bytes(content)
    vocabulary = {token: number for number, token in enumerate(["</s>", "<unk>", "a", "b", "c", "d", "e"])}
    tokenizer = {"version": "1.0", "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": "<unk>"}}
    tokenizer |= {"pre_tokenizer": {"type": "Whitespace"}, "added_tokens": []}
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer), "utf-8")
    return folder
