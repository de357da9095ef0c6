"""Greedy answers of an encoder-decoder to many sources at once, for whoever has them all at hand: translation in bulk.

Sources of like length are encoded together and step together; an answer that has ended leaves its batch.
"""

from collections.abc import Sequence

from qkv_server.transformers.stacks.encoder_decoder import EncoderDecoderModel, M

BATCH_SIZE = 64  # streams: with fewer, each product reads all weights for less; with more, it gains no more


def greedy(
    model: EncoderDecoderModel[M], sources: Sequence[Sequence[int]], batch_size: int = BATCH_SIZE
) -> list[list[int]]:
    """The likeliest answer, token by token, to each source, its end left out. Raises ValueError as `start` does."""
    answers: list[list[int]] = [[] for _ in sources]
    by_length = sorted(range(len(sources)), key=lambda place: len(sources[place]), reverse=True)
    for begin in range(0, len(by_length), batch_size):
        batch = by_length[begin : begin + batch_size]
        for place, tokens in zip(batch, _batch(model, [sources[place] for place in batch]), strict=True):
            answers[place] = tokens
    return answers


def _batch(model: EncoderDecoderModel[M], sources: Sequence[Sequence[int]]) -> list[list[int]]:
    """The answers of one batch."""
    limits = [model.answer_tokens(len(source)) for source in sources]
    streams = model.start_many(sources, [len(model.prompt_ids) + limit for limit in limits])
    for token in model.prompt_ids[:-1]:
        model.step(streams, [token] * len(streams))
    answers: list[list[int]] = [[] for _ in sources]
    going, last = list(range(len(sources))), [model.prompt_ids[-1]] * len(sources)
    while going:
        logits = model.step([streams[place] for place in going], last)
        chosen = dict(zip(going, logits.argmax(axis=1).tolist(), strict=True))
        going = [place for place in going if chosen[place] not in model.end_ids]
        for place in going:
            answers[place].append(chosen[place])
        going = [place for place in going if len(answers[place]) < limits[place]]
        last = [chosen[place] for place in going]
    return answers
