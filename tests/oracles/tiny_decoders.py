"""Tiny decoders: as `tiny_encoders`, some with a template of chats."""

import transformers  # type: ignore[import-not-found]  # only in the environment of the oracles
from oracles import tiny_tokenizers as tokenizers_of
from oracles.tiny_model import CAUSAL, FEED_FORWARD, HEADS, HIDDEN, LAYERS, POSITIONS, WINDOW, Tiny
from tokenizers import Tokenizer

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


def decoders() -> tuple[Tiny, ...]:
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
    gemma3 = gemma | {
        "num_hidden_layers": 6,  # the last is the first that sees all
        "sliding_window": WINDOW,
        "rope_parameters": {
            "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0},
            "full_attention": {"rope_type": "linear", "rope_theta": 1000000.0, "factor": 8.0},
        },
        "query_pre_attn_scalar": 12,
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
        Tiny(
            "gemma3",
            CAUSAL,
            transformers.Gemma3TextConfig,
            gemma_tokenizer,
            of_gemma,
            gemma3,
            number="bfloat16",
            embedding_spread=0.25,
        ),
    )
