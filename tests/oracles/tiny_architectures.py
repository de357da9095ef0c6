"""The tiny models: a config of each architecture, with the tokenizer and the number type that its folder has."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import transformers  # type: ignore[import-not-found]  # only in the environment of the oracles
from oracles import tiny_tokenizers as tokenizers_of
from tokenizers import Tokenizer

HIDDEN, HEADS, LAYERS, POSITIONS = 32, 4, 2, 64
FEED_FORWARD = 40
WINDOW = 6  # of those that have one: shorter than the texts
CAUSAL, MASKED, LABELS, SEQUENCE_TO_SEQUENCE = (
    "AutoModelForCausalLM",
    "AutoModel",
    "AutoModelForTokenClassification",
    "AutoModelForSeq2SeqLM",
)

# Our own, in the manner of the families: turns between marks, and whose turn is next.
TURNS = (
    "{% for message in messages %}<|turn|>{{ message.role }}\n{{ message.content | trim }}<|stop|>{% endfor %}"
    "{% if add_generation_prompt %}<|turn|>assistant\n{% endif %}"
)
TURNS_AFTER_BEGIN = "{{ bos_token }}" + TURNS
NO_SYSTEM = (
    "{% for message in messages %}{% if message.role == 'system' %}"
    "{{ raise_exception('this model takes no system message') }}{% endif %}"
    "<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@dataclass(frozen=True, slots=True)
class Tiny:
    """A model to be made: what `transformers` calls it, its config, its tokenizer, and how its folder is written."""

    name: str
    task: str  # the class of transformers that reads it
    config: Callable[..., Any]
    tokenizer: Callable[[], Tokenizer]
    special: Mapping[str, str]  # bos_token and so on
    options: Mapping[str, Any]  # of the config
    number: str = "float32"
    embedding_spread: float = 0.5  # so that the likeliest token stands out
    shard_size: str = "1GB"
    chat_template: str | None = None
    generation: Mapping[str, Any] = field(default_factory=dict)
    older_rotary: bool = False  # rope_theta and rope_scaling, as most published configs have, not rope_parameters


def tiny_models() -> tuple[Tiny, ...]:
    """All of them."""
    return (*_encoders(), *_decoders(), *_encoder_decoders())


def _encoders() -> tuple[Tiny, ...]:
    bert = {
        "hidden_size": HIDDEN,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "intermediate_size": FEED_FORWARD,
        "max_position_embeddings": POSITIONS,
        "pad_token_id": 0,
    }
    labels = dict(enumerate(("O", "B-BEAST", "I-BEAST", "B-PLACE", "I-PLACE")))
    distil = {
        "dim": HIDDEN,
        "n_layers": LAYERS,
        "n_heads": HEADS,
        "hidden_dim": FEED_FORWARD,
        "max_position_embeddings": POSITIONS,
        "pad_token_id": 0,
    }
    pieces = {
        "pad_token": "[PAD]",
        "unk_token": "[UNK]",
        "cls_token": "[CLS]",
        "sep_token": "[SEP]",
        "mask_token": "[MASK]",
    }
    lower, cased = (
        (lambda: tokenizers_of.word_pieces(lowercase=True)),
        (lambda: tokenizers_of.word_pieces(lowercase=False)),
    )
    roberta = bert | {
        "pad_token_id": 1,
        "bos_token_id": 0,
        "eos_token_id": 2,
        "type_vocab_size": 1,
        "layer_norm_eps": 1e-5,
    }
    return (
        Tiny("bert", MASKED, transformers.BertConfig, lower, pieces, bert),
        Tiny(
            "bert-labels", LABELS, transformers.BertConfig, cased, pieces, bert | {"id2label": labels}, number="float16"
        ),
        Tiny("distilbert", MASKED, transformers.DistilBertConfig, lower, pieces, distil, number="bfloat16"),
        Tiny("roberta", MASKED, transformers.RobertaConfig, tokenizers_of.roberta_bytes, _S, roberta, number="float16"),
    )


_S = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>", "mask_token": "<mask>"}


def _decoders() -> tuple[Tiny, ...]:
    common = {
        "hidden_size": HIDDEN,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": 2,
        "intermediate_size": FEED_FORWARD,
        "max_position_embeddings": POSITIONS,
        "tie_word_embeddings": True,
    }
    gpt2 = {"n_embd": HIDDEN, "n_layer": LAYERS, "n_head": HEADS, "n_positions": POSITIONS, "n_inner": FEED_FORWARD}
    long_rotary = {
        "rope_type": "llama3",
        "rope_theta": 10000.0,
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 64,
    }
    llama = common | {
        "intermediate_size": 64,
        "max_position_embeddings": 512,
        "rms_norm_eps": 1e-5,
        "rope_parameters": long_rotary,
        "bos_token_id": 0,
        "eos_token_id": [1, 3],
    }
    far = {"rope_type": "default", "rope_theta": 1000000.0}
    qwen = common | {"rope_parameters": far, "bos_token_id": None, "eos_token_id": 2, "pad_token_id": 0}
    windows = {"sliding_window": WINDOW, "use_sliding_window": True}
    mistral = common | {"sliding_window": WINDOW, "bos_token_id": 1, "eos_token_id": 2, "tie_word_embeddings": False}
    gemma = common | {"head_dim": 12, "bos_token_id": 2, "eos_token_id": 1, "pad_token_id": 0}
    gemma2 = gemma | {
        "sliding_window": WINDOW,
        "attn_logit_softcapping": 5.0,
        "final_logit_softcapping": 6.0,
        "query_pre_attn_scalar": 9,
    }
    marks = {"bos_token": "<|begin|>", "eos_token": "<|stop|>"}
    of_qwen = {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"}
    of_mistral = {"bos_token": "<bos>", "eos_token": "<eos>", "unk_token": "<unk>"}
    of_gemma = of_mistral | {"pad_token": "<pad>"}

    def mistral_tokenizer() -> Tokenizer:
        return tokenizers_of.sentence_pairs(["<unk>", "<bos>", "<eos>"], prefix_space=True)

    def gemma_tokenizer() -> Tokenizer:
        return tokenizers_of.sentence_pairs(["<pad>", "<eos>", "<bos>", "<unk>"], prefix_space=False)

    return (
        Tiny(
            "gpt2",
            CAUSAL,
            transformers.GPT2Config,
            tokenizers_of.gpt2_bytes,
            {"bos_token": "<|endoftext|>", "eos_token": "<|endoftext|>"},
            gpt2 | {"bos_token_id": 0, "eos_token_id": 0},
            number="float16",
        ),
        Tiny(
            "llama",
            CAUSAL,
            transformers.LlamaConfig,
            tokenizers_of.llama3_bytes,
            marks,
            llama,
            shard_size="40KB",
            chat_template=TURNS_AFTER_BEGIN,
            generation={"do_sample": True, "temperature": 0.6, "top_p": 0.9},
            older_rotary=True,
        ),
        Tiny(
            "qwen2",
            CAUSAL,
            transformers.Qwen2Config,
            tokenizers_of.qwen_bytes,
            of_qwen,
            qwen | windows | {"max_window_layers": 1},
            number="bfloat16",
            chat_template=NO_SYSTEM,
            generation={"do_sample": True, "repetition_penalty": 1.1, "top_k": 20},
            older_rotary=True,
        ),
        Tiny(
            "qwen3",
            CAUSAL,
            transformers.Qwen3Config,
            tokenizers_of.qwen_bytes,
            of_qwen,
            qwen | {"head_dim": 12},
            number="bfloat16",
        ),
        Tiny(
            "mistral",
            CAUSAL,
            transformers.MistralConfig,
            mistral_tokenizer,
            of_mistral,
            mistral,
            number="float16",
            older_rotary=True,
        ),
        Tiny(
            "gemma",
            CAUSAL,
            transformers.GemmaConfig,
            gemma_tokenizer,
            of_gemma,
            gemma,
            number="bfloat16",
            embedding_spread=0.25,
        ),
        Tiny(
            "gemma2",
            CAUSAL,
            transformers.Gemma2Config,
            gemma_tokenizer,
            of_gemma,
            gemma2,
            number="bfloat16",
            embedding_spread=0.25,
        ),
    )


def _encoder_decoders() -> tuple[Tiny, ...]:
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
    of_t5 = {"eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}

    def t5_tokenizer() -> Tokenizer:
        return tokenizers_of.sentence_unigrams(["<pad>", "</s>", "<unk>"])

    def marian_tokenizer() -> Tokenizer:
        return tokenizers_of.sentence_unigrams(["</s>", "<unk>", "<pad>"])

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
            _S,
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
    )
