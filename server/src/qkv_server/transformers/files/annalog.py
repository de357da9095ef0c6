"""The checkpoint of the Python package annalog: molecules to molecules, written as SMILES.

An encoder-decoder of standard parts. The checkpoint has tensors alone; what the sizes of these do not say, heads and
epsilon, are constants of the package's own code. Tensors keep the names of the checkpoint.
"""

from pathlib import Path

import tokenizers
from tokenizers import Regex, decoders, models, pre_tokenizers
from tokenizers.processors import TemplateProcessing

from qkv_server.transformers.errors import ModelFileError
from qkv_server.transformers.files import torch_zip
from qkv_server.transformers.files.model_files import ModelFiles
from qkv_server.transformers.files.weights import Weights
from qkv_server.transformers.text.tokenizer import Tokenizer

HEADS = 8
SPECIAL = {"unk_token": "<unk>", "pad_token": "<pad>", "bos_token": "<sos>", "eos_token": "<eos>"}
# Atoms in brackets, ring bonds of two digits, halogens of two letters, else one character (OpenSMILES, section 3).
SMILES = r"\[[^\]]*\]|%\d{2}|Br|Cl|."


def is_one(path: Path) -> bool:
    """Whether this is the folder of the checkpoint and its vocabulary."""
    return path.is_dir() and any(path.glob("*.pt")) and any(path.glob("*vocab*.pkl"))


def read(path: Path) -> ModelFiles:
    """The files of that folder. Raises ModelFileError."""
    checkpoint = _only(path, "*.pt")
    weights = Weights(checkpoint, torch_zip.read(checkpoint))
    tokens = _vocabulary(_only(path, "*vocab*.pkl"))

    def size(name: str, axis: int) -> int:
        if name not in weights or len(weights.shape(name)) != 2:
            raise ModelFileError(checkpoint, f"has no matrix {name!r}")
        return weights.shape(name)[axis]

    def layers(side: str) -> int:
        return len({name.split(".")[2] for name in weights if name.startswith(f"{side}.layers.")})

    special = {role.replace("_token", "_token_id"): tokens.index(token) for role, token in SPECIAL.items()}
    config = {
        "model_type": "annalog",
        "vocab_size": size("encoder.tok_embedding.weight", 0),
        "d_model": size("encoder.tok_embedding.weight", 1),
        "encoder_layers": layers("encoder"),
        "decoder_layers": layers("decoder"),
        "encoder_attention_heads": HEADS,
        "decoder_attention_heads": HEADS,
        "encoder_ffn_dim": size("encoder.layers.0.positionwise_feedforward.fc_1.weight", 0),
        "decoder_ffn_dim": size("decoder.layers.0.positionwise_feedforward.fc_1.weight", 0),
        "activation_function": "relu",
        "scale_embedding": True,
        "layer_norm_eps": 1e-5,
        "max_position_embeddings": size("encoder.pos_embedding.weight", 0),
        "tie_word_embeddings": False,
        "decoder_start_token_id": special["bos_token_id"],
        **special,
    }
    return ModelFiles(path, config, weights, Tokenizer(_tokenizer(tokens), SPECIAL))


def _only(path: Path, pattern: str) -> Path:
    found = sorted(path.glob(pattern))
    if len(found) != 1:
        raise ModelFileError(path, f"has {len(found)} files {pattern}, expected one")
    return found[0]


def _vocabulary(path: Path) -> list[str]:
    """The tokens by number."""
    said = torch_zip.unpickle(path, path.read_bytes())
    tokens = said.get("itos") if isinstance(said, dict) else None
    if not isinstance(tokens, list) or not all(isinstance(token, str) for token in tokens):
        raise ModelFileError(path, "has no list of tokens 'itos'")
    missing = [token for token in SPECIAL.values() if token not in tokens]
    if missing:
        raise ModelFileError(path, f"has no token {missing[0]!r}")
    return tokens


def _tokenizer(tokens: list[str]) -> tokenizers.Tokenizer:
    backend = tokenizers.Tokenizer(
        models.WordLevel({token: number for number, token in enumerate(tokens)}, SPECIAL["unk_token"])
    )
    backend.pre_tokenizer = pre_tokenizers.Split(Regex(SMILES), "isolated")
    begin, end = SPECIAL["bos_token"], SPECIAL["eos_token"]
    backend.post_processor = TemplateProcessing(
        single=f"{begin} $A {end}", special_tokens=[(begin, tokens.index(begin)), (end, tokens.index(end))]
    )
    backend.decoder = decoders.Fuse()  # tokens follow one another without spaces
    return backend
