"""qkv's transformers in this process, on as many workers as the server has, each with one thread of BLAS."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from qkv_server.transformers.files import ModelFiles, read_model
from qkv_server.transformers.loading import Model, load
from qkv_server.transformers.stacks.decoder import DecoderModel
from qkv_server.transformers.stacks.embedding_queue import EmbeddingQueue
from qkv_server.transformers.stacks.encoder_decoder import EncoderDecoderModel
from qkv_server.transformers.stacks.encoder_model import EncoderModel
from qkv_server.transformers.stacks.greedy import greedy
from runners.rounds import THREADS, Round, timed

M = TypeVar("M", bound=Model)


class Runner:
    """Models are read when they are first used."""

    def __init__(self, models: Mapping[str, str]) -> None:
        threadpool_limits(1, user_api="blas")
        self._workers = ThreadPoolExecutor(THREADS)
        self._paths = models
        self._loaded: dict[str, tuple[ModelFiles, Model]] = {}

    def decode(self, prompts: Sequence[Sequence[int]], tokens: int) -> Round:
        """Greedy tokens for each of some prompts, after the prompts were read; those of the first come of it."""
        _, model = self._model("smollm2", DecoderModel)
        streams = [model.new_stream(len(prompt) + tokens) for prompt in prompts]
        logits = np.stack([model.prefill(stream, prompt) for stream, prompt in zip(streams, prompts, strict=True)])

        def work() -> list[list[int]]:
            answers = [logits.argmax(axis=1).tolist()]
            for _ in range(tokens):
                answers.append(model.step(streams, answers[-1]).argmax(axis=1).tolist())
            return answers

        return timed(len(prompts) * tokens, work, lambda answers: [answer[0] for answer in answers])

    def prefill(self, prompt: Sequence[int]) -> Round:
        """A prompt is read; the likeliest token comes of it."""
        _, model = self._model("smollm2", DecoderModel)
        stream = model.new_stream(len(prompt))
        return timed(len(prompt), lambda: model.prefill(stream, prompt), lambda logits: [int(logits.argmax())])

    def embed(self, texts: Sequence[str], times: int) -> Round:
        """Vectors of texts, so many times over; the first vector comes of it."""
        files, model = self._model("minilm", EncoderModel)
        queue = EmbeddingQueue(model)

        def work() -> npt.NDArray[np.float32]:
            for _ in range(times):
                ids = [encoding.ids for encoding in files.tokenizer.encode_batch(texts)]
                vectors = queue.submit(ids, later=self._workers.submit, threads=THREADS).result()
            return vectors

        return timed(times * len(texts), work, lambda vectors: vectors[0].tolist())

    def translate(self, texts: Sequence[str]) -> Round:
        """Texts in the other language."""
        files, model = self._model("enpt", EncoderDecoderModel)

        def work() -> list[str]:
            sources = [encoding.ids for encoding in files.tokenizer.encode_batch(texts)]
            return [files.tokenizer.decode(answer) for answer in greedy(model, sources)]

        return timed(len(texts), work, list)

    def _model(self, name: str, kind: type[M]) -> tuple[ModelFiles, M]:
        if name not in self._loaded:
            files = read_model(Path(self._paths[name]))
            self._loaded[name] = files, load(files)
        files, model = self._loaded[name]
        if not isinstance(model, kind):
            raise TypeError(f"{name} is a {type(model).__name__}, expected a {kind.__name__}")
        return files, model
