"""sentence-transformers on PyTorch, which sorts texts by length and pads batches."""

from collections.abc import Mapping
from typing import Any

import torch
from sentence_transformers import SentenceTransformer  # type: ignore[import-not-found]  # in the peer's environment

from runners.rounds import BATCH, THREADS, Round, timed


class Runner:
    """MiniLM, float32."""

    def __init__(self, models: Mapping[str, str]) -> None:
        torch.set_num_threads(THREADS)
        self._model: Any = SentenceTransformer(models["minilm"], device="cpu")

    def embed(self, texts: list[str], times: int) -> Round:
        """Batches of 16."""

        def work() -> Any:
            for _ in range(times):
                vectors = self._model.encode(texts, batch_size=BATCH, show_progress_bar=False)
            return vectors

        return timed(times * len(texts), work, lambda vectors: vectors[0].tolist())
