"""Tokenizers out of the metadata of GGUF files."""

from collections.abc import Callable, Mapping

import tokenizers
from tokenizers import AddedToken, Regex, decoders, models, normalizers, pre_tokenizers
from tokenizers.processors import TemplateProcessing

from qkv_server.transformers.errors import ModelFileError
from qkv_server.transformers.files import sentencepiece_tokenizer
from qkv_server.transformers.files.gguf_metadata import Metadata
from qkv_server.transformers.files.sentencepiece_model import Kind, SentencePieceModel

_PREFIX = "tokenizer.ggml"
_ROLES = {"bos": "bos_token", "eos": "eos_token", "unknown": "unk_token", "padding": "pad_token"}


def _words(digits: str) -> pre_tokenizers.PreTokenizer:
    """GPT-4's splitting into words (tiktoken, cl100k_base), with this many digits in a row."""
    pattern = (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
        + digits
        + r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    )
    return pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(pattern), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )


def _gpt2() -> pre_tokenizers.PreTokenizer:
    return pre_tokenizers.ByteLevel(add_prefix_space=False)


# How text is cut before pairs are merged, by `tokenizer.ggml.pre`.
_CUTS: Mapping[str, Callable[[], pre_tokenizers.PreTokenizer]] = {
    "gpt-2": _gpt2,
    "smollm": lambda: pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), _gpt2()]),
    "llama-bpe": lambda: _words(r"\p{N}{1,3}"),
    "qwen2": lambda: _words(r"\p{N}"),
}


def tokenizer(metadata: Metadata) -> tokenizers.Tokenizer:
    """The tokenizer that the metadata describe. Raises ModelFileError."""
    model = metadata.need(f"{_PREFIX}.model", str)
    builders = {"gpt2": _byte_level, "llama": _sentence_piece}
    if model not in builders:
        raise ModelFileError(metadata.path, f"its {_PREFIX}.model is {model!r}, expected one of {', '.join(builders)}")
    tokens = _strings(metadata, "tokens")
    if len(set(tokens)) < len(tokens):
        raise ModelFileError(metadata.path, f"its {_PREFIX}.tokens have a token twice")
    try:
        backend = builders[model](metadata, tokens)
    except ModelFileError:
        raise
    except Exception as error:  # the library raises nothing narrower
        raise ModelFileError(metadata.path, f"its tokenizer is broken: {error}") from error
    _surround(backend, metadata, tokens)
    return backend


def special_tokens(metadata: Metadata) -> dict[str, str]:
    """The special tokens by role."""
    tokens = _strings(metadata, "tokens")
    numbers = {role: metadata.get(f"{_PREFIX}.{name}_token_id", int) for name, role in _ROLES.items()}
    return {role: _token(metadata, tokens, number) for role, number in numbers.items() if number is not None}


def _strings(metadata: Metadata, name: str) -> list[str]:
    found = metadata.need(f"{_PREFIX}.{name}", list)
    if not all(isinstance(one, str) for one in found):
        raise ModelFileError(metadata.path, f"its {_PREFIX}.{name} are no strings")
    return found


def _token(metadata: Metadata, tokens: list[str], number: int) -> str:
    if not 0 <= number < len(tokens):
        raise ModelFileError(metadata.path, f"names token {number} of {len(tokens)}")
    return tokens[number]


def _byte_level(metadata: Metadata, tokens: list[str]) -> tokenizers.Tokenizer:
    """Byte-level BPE with merges, as GPT-2's."""
    cut = metadata.get(f"{_PREFIX}.pre", str) or "gpt-2"
    if cut not in _CUTS:
        raise ModelFileError(metadata.path, f"its {_PREFIX}.pre is {cut!r}, expected one of {', '.join(_CUTS)}")
    merges = [(left, right) for left, _, right in (merge.partition(" ") for merge in _strings(metadata, "merges"))]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    backend = tokenizers.Tokenizer(models.BPE(vocabulary, merges, ignore_merges=cut == "llama-bpe"))
    if cut == "qwen2":
        backend.normalizer = normalizers.NFC()
    backend.pre_tokenizer = _CUTS[cut]()
    backend.decoder = decoders.ByteLevel()
    # In order of their numbers, which the vocabulary has already given them.
    backend.add_tokens(
        [
            AddedToken(token, special=kind == Kind.CONTROL, normalized=False)
            for token, kind in zip(tokens, _kinds(metadata), strict=False)
            if kind in {Kind.CONTROL, Kind.USER_DEFINED}
        ]
    )
    return backend


def _kinds(metadata: Metadata) -> list[int]:
    """`Kind`s of the tokens; empty if the file does not say."""
    return metadata.get(f"{_PREFIX}.token_type", list) or []


def _sentence_piece(metadata: Metadata, tokens: list[str]) -> tokenizers.Tokenizer:
    """SentencePiece's BPE, which has scores in place of merges."""
    scores = metadata.need(f"{_PREFIX}.scores", list)
    if len(scores) != len(tokens) or not all(isinstance(score, int | float) for score in scores):
        raise ModelFileError(metadata.path, f"its {_PREFIX}.scores are no numbers, one for each token")
    unknown = metadata.get(f"{_PREFIX}.unknown_token_id", int) or 0
    kinds = _kinds(metadata) or [Kind.NORMAL] * len(tokens)
    if len(kinds) != len(tokens):
        raise ModelFileError(metadata.path, f"its {_PREFIX}.token_type has {len(kinds)} for {len(tokens)} tokens")
    _token(metadata, tokens, unknown)
    return sentencepiece_tokenizer.tokenizer(
        SentencePieceModel(
            pieces=tuple(tokens),
            scores=tuple(scores),
            kinds=tuple(kinds),
            unknown=unknown,
            unigram=False,
            byte_fallback=True,
            space_before=metadata.get(f"{_PREFIX}.add_space_prefix", bool) is not False,
        )
    )


def _surround(backend: tokenizers.Tokenizer, metadata: Metadata, tokens: list[str]) -> None:
    """The tokens before and after a text, as the metadata say; if they do not, as llama.cpp does."""
    begins = metadata.get(f"{_PREFIX}.model", str) == "llama" or metadata.get(f"{_PREFIX}.pre", str) == "llama-bpe"
    before = _added(metadata, tokens, "bos", default=begins)
    after = _added(metadata, tokens, "eos", default=False)
    if before or after:
        pieces = [token for token, _ in before], [token for token, _ in after]
        backend.post_processor = TemplateProcessing(
            single=[*pieces[0], "$A", *pieces[1]], special_tokens=list({*before, *after})
        )


def _added(metadata: Metadata, tokens: list[str], name: str, *, default: bool) -> list[tuple[str, int]]:
    """The token of a role with its number if it is added to every text, else nothing."""
    said = metadata.get(f"{_PREFIX}.add_{name}_token", bool)
    if not (default if said is None else said):
        return []
    number = metadata.need(f"{_PREFIX}.{name}_token_id", int)
    return [(_token(metadata, tokens, number), number)]
