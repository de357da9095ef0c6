"""Make tests/goldens/sentencepiece: small vocabularies of SentencePiece, and how it cuts and joins texts.

Run it in an environment of its own with `sentencepiece`: `PYTHONPATH=tests python -m oracles.make_sentencepiece`.
"""

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import sentencepiece  # type: ignore[import-not-found]  # only in the environment of the oracles
from oracles.odd_text import odd_texts
from oracles.tiny_text import CORPUS

FOLDER = Path(__file__).parent.parent / "goldens" / "sentencepiece"
AS_IT_IS = {"normalization_rule_name": "identity", "remove_extra_whitespaces": False, "byte_fallback": True}
VOCABULARIES: Mapping[str, Mapping[str, Any]] = {
    "unigram": {"model_type": "unigram", "vocab_size": 180},  # in the manner of T5's and XLM-RoBERTa's
    "unigram_bytes": {"model_type": "unigram", "vocab_size": 420, **AS_IT_IS},
    "bpe": {"model_type": "bpe", "vocab_size": 420, **AS_IT_IS},  # Llama's
    "bpe_symbols": {  # Gemma's
        "model_type": "bpe",
        "vocab_size": 440,
        **AS_IT_IS,
        "add_dummy_prefix": False,
        "user_defined_symbols": ["\n", "\t", "▁▁", "▁▁▁", "bear"],
    },
}


def main() -> None:
    """Train, cut, write; the kinds of tokens are llama.cpp's: 1 normal, 2 unknown, 3 control, 4 the user's, 6 byte."""
    FOLDER.mkdir(exist_ok=True)
    for name, options in VOCABULARIES.items():
        model = io.BytesIO()
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(CORPUS), model_writer=model, character_coverage=0.995, num_threads=1, **options
        )
        (FOLDER / f"{name}.model").write_bytes(model.getvalue())
        golden = _golden(sentencepiece.SentencePieceProcessor(model_proto=model.getvalue()), options)
        (FOLDER / f"{name}.json").write_text(json.dumps(golden, ensure_ascii=False) + "\n", "utf-8")


def _golden(processor: Any, options: Mapping[str, Any]) -> dict[str, Any]:
    numbers = range(processor.get_piece_size())
    symbols = options.get("user_defined_symbols", ())

    def kind(number: int) -> int:
        special = 2 * processor.is_unknown(number) or 3 * processor.is_control(number) or 6 * processor.is_byte(number)
        return special or (4 if processor.id_to_piece(number) in symbols else 1)

    return {
        "oracle": f"sentencepiece {sentencepiece.__version__}",
        "tokens": [processor.id_to_piece(number) for number in numbers],
        "scores": [processor.get_score(number) for number in numbers],
        "kinds": [kind(number) for number in numbers],
        "texts": [
            {"text": text, "ids": processor.encode(text), "decoded": processor.decode(processor.encode(text))}
            for text in odd_texts()
        ],
    }


if __name__ == "__main__":
    main()
