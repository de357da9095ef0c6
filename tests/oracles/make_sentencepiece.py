"""Make tests/goldens/sentencepiece.json: a small vocabulary of SentencePiece's BPE, and how it cuts texts.

Run it in an environment of its own with `sentencepiece`: `PYTHONPATH=tests python -m oracles.make_sentencepiece`.
"""

import io
import json
from pathlib import Path

import sentencepiece  # type: ignore[import-not-found]  # only in the environment of the oracles
from oracles.tiny_text import CORPUS, QUESTIONS, TOKENIZED

FILE = Path(__file__).parent.parent / "goldens" / "sentencepiece.json"


def main() -> None:
    """Train, cut, write; the kinds of tokens are llama.cpp's: 1 normal, 2 unknown, 3 control, 6 byte."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(CORPUS),
        model_writer=model,
        model_type="bpe",
        vocab_size=420,
        byte_fallback=True,
        character_coverage=0.995,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
    )
    processor = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    numbers = range(processor.get_piece_size())
    golden = {
        "oracle": f"sentencepiece {sentencepiece.__version__}",
        "tokens": [processor.id_to_piece(number) for number in numbers],
        "scores": [processor.get_score(number) for number in numbers],
        "kinds": [
            2 * processor.is_unknown(number) or 3 * processor.is_control(number) or 6 * processor.is_byte(number) or 1
            for number in numbers
        ],
        "texts": [
            {"text": text, "ids": processor.encode(text), "decoded": processor.decode(processor.encode(text))}
            for text in (*QUESTIONS, *TOKENIZED)
        ],
    }
    FILE.write_text(json.dumps(golden, ensure_ascii=False) + "\n", "utf-8")


if __name__ == "__main__":
    main()
