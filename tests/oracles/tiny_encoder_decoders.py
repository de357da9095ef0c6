"""Tiny encoder-decoders: as `tiny_encoders`, with how their answers begin."""

import transformers  # type: ignore[import-not-found]  # only in the environment of the oracles
from oracles import tiny_tokenizers as tokenizers_of
from oracles.tiny_model import FEED_FORWARD, HEADS, HIDDEN, LAYERS, POSITIONS, SEQUENCE_TO_SEQUENCE, Tiny
from tokenizers import Tokenizer


def encoder_decoders() -> tuple[Tiny, ...]:
    t5 = {
        "d_model": HIDDEN,
        "d_kv": 8,
        "d_ff": FEED_FORWARD,
        "num_layers": LAYERS,
        "num_heads": HEADS,
        "relative_attention_num_buckets": 8,
        "relative_attention_max_distance": 16,
        "pad_token_id": 0,
        "eos_token_id": 1,
        "decoder_start_token_id": 0,
    }
    gated = {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False}
    both = {
        "d_model": HIDDEN,
        "encoder_layers": LAYERS,
        "decoder_layers": LAYERS,
        "encoder_attention_heads": HEADS,
        "decoder_attention_heads": HEADS,
        "encoder_ffn_dim": FEED_FORWARD,
        "decoder_ffn_dim": FEED_FORWARD,
        "max_position_embeddings": POSITIONS,
    }
    bart = both | {"decoder_start_token_id": 2, "forced_eos_token_id": 2}
    bart |= {"bos_token_id": 0, "pad_token_id": 1, "eos_token_id": 2}
    marian = both | {
        "scale_embedding": True,
        "activation_function": "swish",
        "eos_token_id": 0,
        "decoder_start_token_id": 2,
        "pad_token_id": 2,
        "forced_eos_token_id": 0,
    }
    mbart = both | {"scale_embedding": True, "activation_function": "relu", "forced_eos_token_id": 2}
    mbart |= {"bos_token_id": 0, "pad_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 2}
    of_t5 = {"eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}

    def t5_tokenizer() -> Tokenizer:
        return tokenizers_of.sentence_unigrams(["<pad>", "</s>", "<unk>"])

    def marian_tokenizer() -> Tokenizer:
        return tokenizers_of.sentence_unigrams(["</s>", "<unk>", "<pad>"])

    def mbart_tokenizer() -> Tokenizer:
        special = ["<s>", "<pad>", "</s>", "<unk>", "en_XX", "de_DE"]
        return tokenizers_of.sentence_unigrams(special, after=("</s>", "en_XX"))

    return (
        Tiny(
            "t5",
            SEQUENCE_TO_SEQUENCE,
            transformers.T5Config,
            t5_tokenizer,
            of_t5,
            t5,
            number="bfloat16",
            embedding_spread=2.0,
        ),
        Tiny(
            "t5-gated", SEQUENCE_TO_SEQUENCE, transformers.T5Config, t5_tokenizer, of_t5, t5 | gated, number="bfloat16"
        ),
        Tiny(
            "bart",
            SEQUENCE_TO_SEQUENCE,
            transformers.BartConfig,
            tokenizers_of.roberta_bytes,
            tokenizers_of.OF_ROBERTA,
            bart,
            number="float16",
            generation={"forced_bos_token_id": 0},
        ),
        Tiny(
            "marian",
            SEQUENCE_TO_SEQUENCE,
            transformers.MarianConfig,
            marian_tokenizer,
            of_t5,
            marian,
            number="float16",
            generation={"bad_words_ids": [[2]]},
        ),
        Tiny(
            "mbart",
            SEQUENCE_TO_SEQUENCE,
            transformers.MBartConfig,
            mbart_tokenizer,
            {**of_t5, "src_lang": "en_XX", "tgt_lang": "de_DE"},
            mbart,
            number="bfloat16",
            generation={"forced_bos_token_id": 5},
        ),
    )
