"""Make tests/goldens/constrained_answers.json: greedy answers of transformers where settings forbid some tokens.

Run `PYTHONPATH=tests python -m oracles.make_constrained_answers` in an environment with tests/oracles/requirements.txt,
after `make_tiny_models`. The settings of each model forbid what its plain answer has: runs of tokens, and an early end.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import transformers  # type: ignore[import-not-found]  # only in the environment of the oracles

GOLDENS = Path(__file__).parent.parent / "goldens"
MODELS = {"bart": "AutoModelForSeq2SeqLM", "gpt2": "AutoModelForCausalLM"}
NEW_TOKENS = 16
CLEAR = 0.01  # the least margin of a token: a hundred times the rounding
END_AT = 3  # the place of the token of the plain answer that settings make an end


def main() -> None:
    """Ask both questions of each model under each of its settings."""
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    answers = []
    for name, kind in MODELS.items():
        folder = GOLDENS / "tiny_models" / name
        load = getattr(transformers, kind).from_pretrained
        model = load(folder, attn_implementation="eager", dtype=torch.float32).eval()
        for question in json.loads((folder / "goldens.json").read_text("utf-8"))["questions"]:
            ids = question["input_ids"]
            plain = _answer(model, ids, {})["ids"]
            for settings in _settings(plain):
                answer = _answer(model, ids, settings)
                if all(margin is None or margin > CLEAR for margin in answer["margins"]):
                    answers.append({"model": name, "input_ids": ids, "settings": settings, **answer})
    text = ",\n".join(json.dumps(answer) for answer in answers)
    (GOLDENS / "constrained_answers.json").write_text(f"[\n{text}\n]\n", "utf-8")


def _settings(plain: Sequence[int]) -> list[dict[str, Any]]:
    """Settings that change this answer."""
    begin = len(plain) // 2
    bad_words = [list(plain[begin : begin + 2]), list(plain[begin + 3 : begin + 6])]
    end = {"eos_token_id": plain[END_AT], "forced_eos_token_id": None}
    return [
        {"no_repeat_ngram_size": 1},
        {"no_repeat_ngram_size": 2},
        {"no_repeat_ngram_size": 3},
        {"bad_words_ids": bad_words},
        {**end, "min_length": 8},
        {**end, "min_new_tokens": 8},
        {"forced_eos_token_id": plain[END_AT]},
        {**end, "min_new_tokens": 6, "no_repeat_ngram_size": 2, "bad_words_ids": bad_words},
    ]


def _answer(model: Any, ids: Sequence[int], settings: Mapping[str, Any]) -> dict[str, Any]:
    """The tokens behind the prompt, and the differences of the two largest scores; null where there is one alone."""
    output = model.generate(
        torch.tensor([ids]),
        attention_mask=torch.ones(1, len(ids), dtype=torch.int64),
        do_sample=False,
        num_beams=1,
        max_new_tokens=NEW_TOKENS,
        output_scores=True,
        return_dict_in_generate=True,
        **settings,
    )
    scores = torch.cat(output.scores)  # (T, V)
    margins = (scores.topk(2).values @ torch.tensor([1.0, -1.0])).tolist()
    return {
        "ids": output.sequences[0, -len(scores) :].tolist(),
        "margins": [round(margin, 4) if margin < float("inf") else None for margin in margins],
    }


if __name__ == "__main__":
    main()
