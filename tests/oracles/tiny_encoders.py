"""Tiny encoders: configs of each architecture, with the tokenizer and the number type that its folder has."""

import transformers  # type: ignore[import-not-found]  # only in the environment of the oracles
from oracles import tiny_tokenizers as tokenizers_of
from oracles.tiny_model import FEED_FORWARD, HEADS, HIDDEN, LABELS, LAYERS, MASKED, POSITIONS, Tiny


def encoders() -> tuple[Tiny, ...]:
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
        Tiny(
            "roberta",
            MASKED,
            transformers.RobertaConfig,
            tokenizers_of.roberta_bytes,
            tokenizers_of.OF_ROBERTA,
            roberta,
            number="float16",
        ),
    )
