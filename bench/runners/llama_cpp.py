"""llama.cpp by its C interface, on the weights as it would be given them in float32."""

import ctypes
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import llama_cpp  # type: ignore[import-not-found]  # only in the environment of the peer
import numpy as np

from runners.rounds import THREADS, Round, timed

CHUNK = 512  # tokens that one call may read


class Runner:
    """SmolLM2; a context for each number of streams."""

    def __init__(self, models: Mapping[str, str]) -> None:
        self._silence = llama_cpp.llama_log_callback(lambda *_: None)
        llama_cpp.llama_log_set(self._silence, ctypes.c_void_p(0))
        llama_cpp.llama_backend_init()
        path = str(Path(models["smollm2_float32"])).encode()
        self._model = llama_cpp.llama_model_load_from_file(path, llama_cpp.llama_model_default_params())
        self._vocabulary = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(self._model))
        self._contexts: dict[tuple[int, int], Any] = {}

    def decode(self, prompts: Sequence[Sequence[int]], tokens: int) -> Round:
        """Prompts as sequences of one batch."""
        context = self._context(len(prompts), len(prompts[0]) + tokens)
        first = [self._read(context, {number: prompt}, 0)[0] for number, prompt in enumerate(prompts)]

        def work() -> list[list[int]]:
            answers = [first]
            for step in range(tokens):
                last = {number: [token] for number, token in enumerate(answers[-1])}
                answers.append(self._read(context, last, len(prompts[0]) + step))
            return answers

        return timed(len(prompts) * tokens, work, lambda answers: [answer[0] for answer in answers])

    def prefill(self, prompt: Sequence[int]) -> Round:
        """Only the last token's logits are asked."""
        context = self._context(1, len(prompt))
        return timed(len(prompt), lambda: self._read(context, {0: prompt}, 0), list)

    def _context(self, streams: int, length: int) -> Any:
        """An empty context of so many streams of so many tokens."""
        if (streams, length) not in self._contexts:
            parameters = llama_cpp.llama_context_default_params()
            parameters.n_ctx = streams * -(-length // 256) * 256
            parameters.n_seq_max = streams
            parameters.n_batch = parameters.n_ubatch = CHUNK
            parameters.n_threads = parameters.n_threads_batch = THREADS
            self._contexts[streams, length] = llama_cpp.llama_init_from_model(self._model, parameters)
        context = self._contexts[streams, length]
        llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(context), True)
        return context

    def _read(self, context: Any, chunks: Mapping[int, Sequence[int]], begin: int) -> list[int]:
        """Read tokens of sequences from a position on: the likeliest token after the last of each."""
        batch = llama_cpp.llama_batch_init(sum(map(len, chunks.values())), 0, 1)
        ends = []
        for sequence, tokens in chunks.items():
            for offset, token in enumerate(tokens):
                place, batch.n_tokens = batch.n_tokens, batch.n_tokens + 1
                batch.token[place], batch.pos[place] = token, begin + offset
                batch.n_seq_id[place], batch.seq_id[place][0] = 1, sequence
                batch.logits[place] = offset == len(tokens) - 1
            ends.append(batch.n_tokens - 1)
        if llama_cpp.llama_decode(context, batch):
            raise RuntimeError("llama_decode failed")
        answers = []
        for end in ends:
            logits = llama_cpp.llama_get_logits_ith(context, end)
            answers.append(int(np.ctypeslib.as_array(logits, shape=(self._vocabulary,)).argmax()))
        llama_cpp.llama_batch_free(batch)
        return answers
