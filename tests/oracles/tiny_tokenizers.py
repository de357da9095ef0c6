"""Tokenizers of every kind that the families use, each with about 300 pieces of a few sentences.

Pairs are learned by the trainer of the library. Those of word pieces and unigrams break ties by chance: there, pieces
are taken that save the most letters.
"""

import json
import math
from collections import Counter
from collections.abc import Callable, Iterable

from oracles.tiny_text import CORPUS
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

MERGES = 40  # beyond the alphabet
UNIGRAM_PIECES = 200
WORD_PIECES = 220
BYTES = tuple(f"<0x{byte:02X}>" for byte in range(256))  # pieces for what no other piece spells

OF_ROBERTA = {
    "bos_token": "<s>",
    "eos_token": "</s>",
    "pad_token": "<pad>",
    "unk_token": "<unk>",
    "mask_token": "<mask>",
}


def word_pieces(*, lowercase: bool) -> Tokenizer:
    """BERT's: words, then the longest pieces of each; [CLS] … [SEP]."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer = Tokenizer(models.WordPiece())
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    spellings = _spellings(tokenizer, lambda word, begin, end: "##" * (begin > 0) + word[begin:end])
    pieces = [*special, *_saving(spellings, WORD_PIECES - len(special), marks="##")]
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    tokenizer.model = models.WordPiece(vocabulary, unk_token="[UNK]")  # noqa: S106 - no password but a piece
    tokenizer.add_special_tokens(special)
    pair = tuple((name, special.index(name)) for name in ("[CLS]", "[SEP]"))
    tokenizer.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", "[CLS] $A [SEP] $B:1 [SEP]:1", pair)
    return tokenizer


def roberta_bytes() -> Tokenizer:
    """RoBERTa's and BART's: pairs of bytes are merged, as GPT-2 does; <s> … </s>."""
    tokenizer = _byte_level(
        ["<s>", "<pad>", "</s>", "<unk>", "<mask>"], pre_tokenizers.ByteLevel(add_prefix_space=False)
    )
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=False)
    return tokenizer


def gpt2_bytes() -> Tokenizer:
    """GPT-2's: nothing is added."""
    tokenizer = _byte_level(["<|endoftext|>"], pre_tokenizers.ByteLevel(add_prefix_space=False))
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    return tokenizer


def llama3_bytes() -> Tokenizer:
    """Llama 3's: words by a pattern of its own, numbers in threes; <|begin|> before the text."""
    special = ["<|begin|>", "<|end|>", "<|turn|>", "<|stop|>"]
    tokenizer = _byte_level(special, _split(digits=3))
    begin = processors.TemplateProcessing("<|begin|> $A", "<|begin|> $A <|begin|> $B:1", [("<|begin|>", 0)])
    tokenizer.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=False), begin])
    return tokenizer


def qwen_bytes() -> Tokenizer:
    """Qwen's: digits one by one, composed Unicode; nothing is added."""
    tokenizer = _byte_level(["<|endoftext|>", "<|im_start|>", "<|im_end|>"], _split(digits=1))
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    return tokenizer


def sentence_pairs(special: list[str], *, prefix_space: bool) -> Tokenizer:
    """SentencePiece's pairs, of Mistral (with a space before the text) and Gemma: <bos> first, bytes for the rest."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))  # noqa: S106 - no password but a piece
    spaces = normalizers.Replace(" ", "▁")
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), spaces]) if prefix_space else spaces
    fallback: list[decoders.Decoder] = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    tokenizer.decoder = decoders.Sequence(fallback + ([decoders.Strip(" ", 1, 0)] if prefix_space else []))
    # Merges are learned within words: a trainer that sees no words would merge whole sentences.
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("▁[^▁]*"), "isolated")
    letters = len({letter for sentence in CORPUS for letter in sentence})
    size = len(special) + len(BYTES) + letters + MERGES
    tokenizer.train_from_iterator(CORPUS, _trainer(trainers.BpeTrainer, size, [*special, *BYTES]))
    tokenizer = _without_added(tokenizer, BYTES)
    first = special.index("<bos>")
    tokenizer.post_processor = processors.TemplateProcessing("<bos> $A", "<bos> $A <bos> $B:1", [("<bos>", first)])
    return tokenizer


def sentence_unigrams(special: list[str], after: tuple[str, ...] = ("</s>",)) -> Tokenizer:
    """SentencePiece's unigram model, of T5, Marian and mBART: a space before the text, </s> behind it."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    spellings = _spellings(tokenizer, lambda word, begin, end: word[begin:end])
    chosen = _saving(spellings, UNIGRAM_PIECES - len(special))
    scores = {piece: math.log(spellings[piece] / spellings.total()) for piece in chosen}
    pieces = [*((piece, 0.0) for piece in special), *scores.items()]
    tokenizer.model = models.Unigram(pieces, special.index("<unk>"))
    tokenizer.add_special_tokens(special)
    ends = [(piece, special.index(piece)) for piece in after]
    tokenizer.post_processor = processors.TemplateProcessing(["$A", *after], None, ends)
    return tokenizer


def _spellings(tokenizer: Tokenizer, spelled: Callable[[str, int, int], str]) -> Counter[str]:
    """How often each part of the corpus' words comes, as `spelled(word, begin, end)` has it."""
    sentences = (tokenizer.normalizer.normalize_str(sentence) for sentence in CORPUS)
    words = [word for sentence in sentences for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(sentence)]
    spans = ((word, begin, end) for word in words for end in range(len(word) + 1) for begin in range(end))
    return Counter(spelled(*span) for span in spans)


def _saving(spellings: Counter[str], number: int, marks: str = "") -> Iterable[str]:
    """All letters, and the longer pieces that save the most of them; so many in all."""

    def rank(piece: str) -> tuple[bool, int, str]:
        letters = len(piece.removeprefix(marks))
        return letters > 1, -(letters - 1) * spellings[piece], piece

    return sorted(spellings, key=rank)[:number]


def _byte_level(special: list[str], words: pre_tokenizers.PreTokenizer) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = words
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    size = len(special) + len(alphabet) + MERGES
    trainer = _trainer(trainers.BpeTrainer, size, special, initial_alphabet=alphabet)
    tokenizer.train_from_iterator(CORPUS, trainer)
    return tokenizer


def _split(*, digits: int) -> pre_tokenizers.PreTokenizer:
    """Words by the pattern of tiktoken's cl100k, with so many digits together; their bytes as letters."""
    words = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+"
    numbers = r"\p{N}" if digits == 1 else rf"\p{{N}}{{1,{digits}}}"
    pattern = "|".join((words, numbers, r" ?[^\s\p{L}\p{N}]+[\r\n]*", r"\s*[\r\n]+", r"\s+(?!\S)", r"\s+"))
    letters = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    return pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(pattern), "isolated"), letters])


def _trainer(kind: type, size: int, special: list[str], **options: object) -> trainers.Trainer:
    trainer: trainers.Trainer = kind(vocab_size=size, special_tokens=special, show_progress=False, **options)
    return trainer


def _without_added(tokenizer: Tokenizer, pieces: tuple[str, ...]) -> Tokenizer:
    """The tokenizer whose whole text is one word, and that does not read these pieces where a text spells them out."""
    content = json.loads(tokenizer.to_str())
    content["pre_tokenizer"] = None
    content["added_tokens"] = [token for token in content["added_tokens"] if token["content"] not in pieces]
    return Tokenizer.from_str(json.dumps(content))
