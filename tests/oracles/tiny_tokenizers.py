"""Tokenizers of every kind that the families use, each trained on a few sentences: about 300 pieces."""

import json

from oracles.tiny_text import CORPUS
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

MERGES = 40  # beyond the alphabet
UNIGRAM_PIECES = 200
WORD_PIECES = 220
BYTES = tuple(f"<0x{byte:02X}>" for byte in range(256))  # pieces for what no other piece spells


def word_pieces(*, lowercase: bool) -> Tokenizer:
    """BERT's: words, then the longest pieces of each; [CLS] … [SEP]."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))  # noqa: S106 - no password but a piece
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.train_from_iterator(CORPUS, _trainer(trainers.WordPieceTrainer, WORD_PIECES, special))
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


def sentence_unigrams(special: list[str]) -> Tokenizer:
    """SentencePiece's unigram model, of T5 and Marian: a space before the text, </s> behind it."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    trainer = _trainer(trainers.UnigramTrainer, UNIGRAM_PIECES, special, unk_token="<unk>")  # noqa: S106 - no password but a piece
    tokenizer.train_from_iterator(CORPUS, trainer)
    end = special.index("</s>")
    tokenizer.post_processor = processors.TemplateProcessing("$A </s>", "$A </s> $B:1 </s>:1", [("</s>", end)])
    return tokenizer


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
