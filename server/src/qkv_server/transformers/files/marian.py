"""Models of Marian (https://marian-nmt.github.io): a .bin file, its settings within, and beside it a vocabulary.

Settings become config.json of Hugging Face's MarianMTModel. What that has not: `decoder_autoregression` is "ssru" where
a simple recurrent unit stands in place of the decoder's self-attention (Kim et al., 2019,
https://aclanthology.org/D19-5632).
"""

import re
from pathlib import Path
from typing import Any

from tokenizers.processors import TemplateProcessing

from qkv_server.transformers.errors import ModelFileError
from qkv_server.transformers.files import sentencepiece_model, sentencepiece_tokenizer
from qkv_server.transformers.files.marian_binary import MarianBinary, open_binary
from qkv_server.transformers.files.marian_tensors import EMBEDDING, tensors
from qkv_server.transformers.files.model_files import ModelFiles
from qkv_server.transformers.files.weights import Weights
from qkv_server.transformers.text.tokenizer import Tokenizer

SETTINGS = "special:model.yml"
END, UNKNOWN = "</s>", "<unk>"

# What is implemented: any other value means other arithmetic.
EXPECTED = {
    "type": ("transformer",),
    "tied-embeddings-all": ("true",),
    "transformer-preprocess": ('""',),
    "transformer-postprocess": ("dan",),
    "transformer-postprocess-top": ('""',),
    "transformer-train-position-embeddings": ("false",),
    "transformer-decoder-autoreg": ("rnn", "self-attention"),
    "transformer-ffn-depth": ("2",),
    "transformer-no-projection": ("false",),
    "dec-cell": ("ssru",),
    "dec-cell-base-depth": ("2",),
    "lemma-dim-emb": ("0",),
}

# Settings of the recurrence, idle where there is none.
OF_RECURRENCE = {"dec-cell", "dec-cell-base-depth"}


def is_one(path: Path) -> bool:
    """Whether this is a folder with a model of Marian's."""
    return path.is_dir() and bool(_binaries(path))


def read(path: Path) -> ModelFiles:
    """The files of such a folder. Raises ModelFileError."""
    binaries = _binaries(path)
    if len(binaries) > 1:
        raise ModelFileError(path, f"has several models: {', '.join(file.name for file in binaries)}, expected one")
    binary = open_binary(binaries[0])
    return ModelFiles(
        path=path,
        config=_config(binary),
        weights=Weights(binary.path, tensors(binary)),
        tokenizer=_tokenizer(path),
        languages=_languages(binary.path),
    )


def _binaries(path: Path) -> list[Path]:
    """Lists of likely words (lex….bin) lie beside a model and are not read."""
    return sorted(file for file in path.glob("*.bin") if file.name.startswith("model."))


def _languages(path: Path) -> tuple[tuple[str, str], ...]:
    """From names as model.enpt.intgemm.alphas.bin, the custom of those who train such models."""
    match = re.match(r"model\.([a-z]{2})([a-z]{2})\.", path.name)
    return ((match[1], match[2]),) if match else ()


def _tokenizer(path: Path) -> Tokenizer:
    file, special = path / "tokenizer.json", {"eos_token": END, "unk_token": UNKNOWN}
    if file.is_file():
        tokenizer = Tokenizer.from_file(file, special)
    else:
        file = _vocabulary(path)
        try:
            tokenizer = Tokenizer(sentencepiece_tokenizer.tokenizer(sentencepiece_model.read(file)), special)
        except ValueError as error:
            raise ModelFileError(file, f"is no vocabulary: {error}") from error
    end = tokenizer.backend.token_to_id(END)
    if end is None:
        raise ModelFileError(file, f"has no token {END!r}")
    tokenizer.backend.post_processor = TemplateProcessing(single=f"$A {END}", special_tokens=[(END, end)])
    return tokenizer


def _vocabulary(path: Path) -> Path:
    """The one vocabulary of SentencePiece that source and target share."""
    found = sorted(path.glob("*.spm"))
    if len(found) != 1:
        names = ", ".join(file.name for file in found) or "no file"
        raise ModelFileError(path, f"has no tokenizer.json, and {names} to make one of, expected one *.spm")
    return found[0]


def _settings(binary: MarianBinary) -> dict[str, str]:
    """The lines `name: value` of the settings; the lists among them are not needed."""
    if SETTINGS not in binary.items:
        raise ModelFileError(binary.path, f"has no item {SETTINGS!r}")
    lines = (line.partition(": ") for line in binary.text(SETTINGS).splitlines())
    settings = {name: value.strip() for name, _, value in lines if value}
    recurrent = settings.get("transformer-decoder-autoreg") == "rnn"
    for name, known in EXPECTED.items():
        found = settings.get(name)
        if found not in known and (recurrent or name not in OF_RECURRENCE):
            raise ModelFileError(binary.path, f"its setting {name} is {found}, expected {' or '.join(known)}")
    return settings


def _config(binary: MarianBinary) -> dict[str, Any]:
    """The settings, named as in config.json of MarianMTModel."""
    settings = _settings(binary)
    if EMBEDDING not in binary.items or len(binary.items[EMBEDDING].shape) != 2:
        raise ModelFileError(binary.path, f"has no matrix {EMBEDDING!r}")
    vocabulary, size = binary.items[EMBEDDING].shape

    def count(name: str) -> int:
        try:
            return int(settings[name])
        except (KeyError, ValueError):
            raise ModelFileError(
                binary.path, f"its setting {name} is {settings.get(name)}, expected a whole number"
            ) from None

    heads, hidden = count("transformer-heads"), count("transformer-dim-ffn")
    return {
        "model_type": "marian",
        "vocab_size": vocabulary,
        "d_model": size,
        "encoder_layers": count("enc-depth"),
        "decoder_layers": count("dec-depth"),
        "encoder_attention_heads": heads,
        "decoder_attention_heads": heads,
        "encoder_ffn_dim": hidden,
        "decoder_ffn_dim": hidden,
        "activation_function": settings.get("transformer-ffn-activation"),
        "scale_embedding": True,
        "normalize_before": False,
        "layer_norm_eps": 1e-6,
        "max_position_embeddings": None,  # computed for any length
        "inclusive_timescales": True,  # the longest wavelength is 10000·2π; in MarianMTModel the one after the last is
        "tie_word_embeddings": True,
        "decoder_autoregression": "ssru" if settings["transformer-decoder-autoreg"] == "rnn" else "self-attention",
        "eos_token_id": 0,
        "unk_token_id": 1,
        "pad_token_id": None,
        "decoder_start_token_id": None,  # a zero vector
    }
