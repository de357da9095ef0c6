"""Tokenizers of folders without a tokenizer.json, from the vocabularies that models were published with before it.

What these files do not say is here, by model_type, as the classes of Hugging Face's transformers have it: which special
tokens there are, and which of them stand around a text.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import AddedToken, processors

from qkv_server.transformers.errors import ModelFileError
from qkv_server.transformers.files import published_vocabularies as published
from qkv_server.transformers.files.json_file import read_object_if_there
from qkv_server.transformers.text.tokenizer import Tokenizer

MAKING = "AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER) of Hugging Face's transformers makes it"


@dataclass(frozen=True, slots=True)
class _Vocabulary:
    """A vocabulary as it is published."""

    files: tuple[str, ...]
    build: Callable[[Path, published.Said], tokenizers.Tokenizer]
    special: Mapping[str, str]  # tokens by role, where the files do not say
    before: tuple[str, ...] = ()  # roles of the tokens before a text
    after: tuple[str, ...] = ()  # and behind it


def _switched(vocabulary: _Vocabulary, said: published.Said) -> _Vocabulary:
    """Whether Llama's begin and end stand around a text."""
    begins, ends = said.get("add_bos_token"), said.get("add_eos_token")
    return replace(
        vocabulary,
        before=vocabulary.before if begins is None else ("bos_token",) * bool(begins),
        after=vocabulary.after if ends is None else ("eos_token",) * bool(ends),
    )


def _of_languages(vocabulary: _Vocabulary, said: published.Said) -> _Vocabulary:
    """The code of a text's language stands before it in mBART-50, behind all else in mBART."""
    vocabulary = replace(vocabulary, special={**vocabulary.special, "src_lang": said.get("src_lang") or "en_XX"})
    if str(said.get("tokenizer_class")).startswith("MBart50"):
        return replace(vocabulary, before=("src_lang",))
    return replace(vocabulary, after=(*vocabulary.after, "src_lang"))


_OF_BERT = {f"{role}_token": f"[{role.upper()}]" for role in ("pad", "unk", "cls", "sep", "mask")}
_OF_GPT2 = dict.fromkeys(("bos_token", "eos_token", "unk_token"), "<|endoftext|>")
_OF_T5 = {"eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}
_OF_LLAMA = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
_OF_GEMMA = {"bos_token": "<bos>", "eos_token": "<eos>", "unk_token": "<unk>", "pad_token": "<pad>"}
_OF_ROBERTA = _OF_T5 | {"bos_token": "<s>", "cls_token": "<s>", "sep_token": "</s>", "mask_token": "<mask>"}

_BERT = _Vocabulary(published.WORD_PIECES, published.word_pieces, _OF_BERT, ("cls_token",), ("sep_token",))
_ROBERTA = _Vocabulary(published.BYTE_PAIRS, published.byte_pairs_trimmed, _OF_ROBERTA, ("cls_token",), ("sep_token",))
_UNIGRAMS = _Vocabulary(published.T5, published.t5, _OF_T5, after=("eos_token",))
_LLAMA = _Vocabulary(published.LLAMA, published.llama, _OF_LLAMA, before=("bos_token",))
_GEMMA = replace(_LLAMA, special=_OF_GEMMA)
_XLM = replace(_ROBERTA, files=published.FAIRSEQ, build=published.fairseq)
_VOCABULARIES = {
    "bart": _ROBERTA,
    "bert": _BERT,
    "camembert": replace(_XLM, build=published.camembert),
    "distilbert": _BERT,
    "gemma": _GEMMA,
    "gemma2": _GEMMA,
    "gemma3_text": _GEMMA,
    "gpt2": _Vocabulary(published.BYTE_PAIRS, published.byte_pairs, _OF_GPT2),
    "llama": _LLAMA,
    "marian": replace(_UNIGRAMS, files=published.MARIAN, build=published.marian),
    "mbart": replace(_XLM, before=(), after=("eos_token",)),
    "mistral": _LLAMA,
    "mt5": _UNIGRAMS,
    "roberta": _ROBERTA,
    "t5": _UNIGRAMS,
    "xlm-roberta": _XLM,
}


def read(folder: Path, model_type: Any, said: published.Said, special: Mapping[str, str]) -> Tokenizer:
    """The tokenizer of a folder that says these special tokens by role. Raises ModelFileError."""
    vocabulary = _VOCABULARIES.get(model_type)
    if vocabulary is None:
        raise ModelFileError(folder, f"has no tokenizer.json: {MAKING}")
    missing = [name for name in vocabulary.files if not (folder / name).is_file()]
    if missing:
        raise ModelFileError(folder, f"has no tokenizer.json, and no {missing[0]} to make one of: {MAKING}")
    if vocabulary.files == published.LLAMA:
        vocabulary = _switched(vocabulary, said)
    elif model_type == "mbart":
        vocabulary = _of_languages(vocabulary, said)
    special = {**vocabulary.special, **special}
    said = {**said, **special}
    try:
        backend = vocabulary.build(folder, said)
        backend.add_special_tokens(_known(backend, special, said))
        _add(folder, backend, said)
        before, after = ([special[role] for role in roles] for roles in (vocabulary.before, vocabulary.after))
        _surround(folder, backend, before, after)
    except ModelFileError:
        raise
    except Exception as error:  # the library raises nothing narrower
        raise ModelFileError(folder / vocabulary.files[0], f"is no vocabulary of {model_type}: {error}") from error
    return Tokenizer(backend, special)


def _known(backend: tokenizers.Tokenizer, special: Mapping[str, str], said: published.Said) -> list[str]:
    """The special tokens that the vocabulary has, in the order of their numbers."""
    tokens = (*special.values(), *said.get("additional_special_tokens", ()))
    numbers = {token: backend.token_to_id(token) for token in tokens if isinstance(token, str)}
    return [token for _, token in sorted((number, token) for token, number in numbers.items() if number is not None)]


def _add(folder: Path, backend: tokenizers.Tokenizer, said: published.Said) -> None:
    """Add the tokens that came to the vocabulary later, each with its own number."""
    older = {number: {"content": token} for token, number in read_object_if_there(folder / "added_tokens.json").items()}
    newer = {int(number): token for number, token in (said.get("added_tokens_decoder") or {}).items()}
    for number, token in sorted({**older, **newer}.items()):
        content, is_special = token["content"], token.get("special", True)
        backend.add_tokens([AddedToken(content, special=is_special, normalized=token.get("normalized", False))])
        if backend.token_to_id(content) != number:
            problem = f"token {content!r} has number {backend.token_to_id(content)} here, expected {number}"
            raise ModelFileError(folder, problem)


def _surround(folder: Path, backend: tokenizers.Tokenizer, before: Sequence[str], after: Sequence[str]) -> None:
    """Have these tokens stand before and behind a text."""
    numbers = {token: backend.token_to_id(token) for token in (*before, *after)}
    for token, number in numbers.items():
        if number is None:
            raise ModelFileError(folder, f"its vocabulary has no {token!r}, which stands around texts")
    if numbers:
        template = processors.TemplateProcessing([*before, "$A", *after], None, list(numbers.items()))
        own = backend.post_processor
        backend.post_processor = template if own is None else processors.Sequence([own, template])
