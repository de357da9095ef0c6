"""Hugging Face's transformers on PyTorch, float32, attention by its scaled_dot_product_attention."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import transformers  # type: ignore[import-not-found]  # only in the environment of the peer

from runners.rounds import THREADS, Round, timed


class Runner:
    """SmolLM2."""

    def __init__(self, models: Mapping[str, str]) -> None:
        torch.set_num_threads(THREADS)
        torch.set_grad_enabled(False)
        read = transformers.AutoModelForCausalLM.from_pretrained(models["smollm2_folder"], dtype=torch.float32)
        self._model: Any = read.eval()

    def decode(self, prompts: Sequence[Sequence[int]], tokens: int) -> Round:
        """Prompts of equal length as one batch, without padding."""
        read = self._model(torch.tensor(prompts), use_cache=True, logits_to_keep=1)

        def work() -> list[torch.Tensor]:
            answers, cache = [read.logits[:, -1].argmax(-1)], read.past_key_values
            for _ in range(tokens):
                step = self._model(answers[-1][:, None], past_key_values=cache, use_cache=True)
                answers.append(step.logits[:, -1].argmax(-1))
            return answers

        return timed(len(prompts) * tokens, work, lambda answers: [int(answer[0]) for answer in answers])

    def prefill(self, prompt: Sequence[int]) -> Round:
        """Only the last token's logits, as a generation needs."""
        ids = torch.tensor([prompt])
        return timed(
            len(prompt),
            lambda: self._model(ids, use_cache=True, logits_to_keep=1).logits[0, -1],
            lambda logits: [int(logits.argmax())],
        )
