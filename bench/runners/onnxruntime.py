"""onnxruntime with MiniLM as a graph from token ids to vectors, and the `tokenizers` library before it."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime  # type: ignore[import-not-found]  # only in the environment of the peer
from tokenizers import Tokenizer

from runners.rounds import BATCH, THREADS, Round, timed

LONGEST = 256  # tokens, as MiniLM's own settings say; its tokenizer.json has others


class Runner:
    """All optimizations of the graph, float32."""

    def __init__(self, models: Mapping[str, str]) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = THREADS
        self._session = onnxruntime.InferenceSession(models["minilm_onnx"], options, ["CPUExecutionProvider"])
        self._tokenizer = Tokenizer.from_file(str(Path(models["minilm"]) / "tokenizer.json"))
        self._tokenizer.enable_truncation(LONGEST)
        self._tokenizer.no_padding()

    def embed(self, texts: Sequence[str], times: int) -> Round:
        """Batches of 16 texts of like length, each padded to its longest."""

        def work() -> npt.NDArray[np.float32]:
            for _ in range(times):
                vectors = self._embedded(texts)
            return vectors

        return timed(times * len(texts), work, lambda vectors: vectors[0].tolist())

    def _embedded(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        encoded = [encoding.ids for encoding in self._tokenizer.encode_batch(list(texts))]
        order = sorted(range(len(encoded)), key=lambda place: -len(encoded[place]))
        parts = []
        for begin in range(0, len(order), BATCH):
            batch = [encoded[place] for place in order[begin : begin + BATCH]]
            ids, mask = np.zeros((2, len(batch), len(batch[0])), np.int64)
            for row, tokens in enumerate(batch):
                ids[row, : len(tokens)], mask[row, : len(tokens)] = tokens, 1
            parts.append(self._session.run(None, {"input_ids": ids, "attention_mask": mask})[0])
        vectors = np.empty((len(texts), parts[0].shape[1]), np.float32)
        vectors[order] = np.concatenate(parts)
        return vectors
