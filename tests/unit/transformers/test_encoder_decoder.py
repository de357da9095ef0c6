"""Encoder-decoders answer alike in whatever company their streams step, and refuse what does not fit."""

import numpy as np
import pytest
from tiny_models import questions, tiny_encoder_decoder

from qkv_server.transformers.stacks.greedy import greedy

FAMILIES = ("bart", "marian", "mbart", "t5", "t5-gated")


@pytest.mark.parametrize("family", FAMILIES)
def test_answers_do_not_depend_on_company(family: str) -> None:
    """A source has the same answer alone, among others, and among many batches."""
    model = tiny_encoder_decoder(family)
    sources = [question.ids[:length] for question in questions(family) for length in range(1, len(question.ids))]
    assert greedy(model, sources, batch_size=4) == [greedy(model, [source])[0] for source in sources]


@pytest.mark.parametrize("family", FAMILIES)
def test_what_a_stream_takes_is_known_before(family: str) -> None:
    """The bytes of a stream are those that are told of its sizes."""
    model = tiny_encoder_decoder(family)
    for source, capacity in ((1, 1), (7, 30)):
        assert model.start([5] * source, capacity).nbytes == model.stream_nbytes(source, capacity)


@pytest.mark.parametrize("family", FAMILIES)
def test_many_sources_are_encoded_as_each_alone(family: str) -> None:
    """Sources that two threads encode together have the keys and values that each has alone."""
    model = tiny_encoder_decoder(family)
    sources = [[5 + (place + offset) % 9 for place in range(1 + offset)] for offset in range(20)]
    together = model.start_many(sources, [1] * len(sources))
    for source, stream in zip(sources, together, strict=True):
        alone = model.start(source, 1)
        for one, other in zip(stream.source.keys_values, alone.source.keys_values, strict=True):
            np.testing.assert_allclose(one, other, rtol=0, atol=1e-4)


def test_a_source_must_have_tokens_and_not_too_many() -> None:
    """Sources of no tokens, of more than the model reads, and of tokens that it has not, are refused."""
    model = tiny_encoder_decoder("bart")
    with pytest.raises(ValueError, match="0 tokens, expected 1 to 64"):
        model.start([], 8)
    with pytest.raises(ValueError, match="65 tokens, expected 1 to 64"):
        model.start([5] * 65, 8)
    with pytest.raises(ValueError, match="token 301 is not in the vocabulary of 301"):
        model.start([5, 301], 8)


def test_a_stream_must_fit_into_the_context() -> None:
    """A stream for no tokens, or for more than the decoder has positions, is refused."""
    model = tiny_encoder_decoder("marian")
    for capacity in (0, 65):
        with pytest.raises(ValueError, match=f"capacity is {capacity}, expected 1 to 64"):
            model.start([5], capacity)


def test_every_stream_of_a_step_has_one_token() -> None:
    """Steps with fewer or more tokens than streams, and chunks of none, are refused."""
    model = tiny_encoder_decoder("t5")
    stream = model.start([5, 1], 4)
    for ids in ([], [1, 2]):
        with pytest.raises(ValueError, match=f"there are {len(ids)} tokens for 1 streams"):
            model.step([stream], ids)
    with pytest.raises(ValueError, match="there are no tokens to read"):
        model.prefill(stream, [])


@pytest.mark.parametrize("family", ["bart", "t5"])
def test_a_full_stream_reads_nothing(family: str) -> None:
    """A step beyond the capacity of one stream is refused, and no stream has read anything."""
    model = tiny_encoder_decoder(family)
    full, other = model.start_many([questions(family)[0].ids] * 2, [1, 4])
    model.prefill(full, [2])
    with pytest.raises(ValueError, match="1 tokens and 1 more do not fit into 1"):
        model.step([other, full], [3, 3])
    with pytest.raises(ValueError, match="0 tokens and 5 more do not fit into 4"):
        model.prefill(other, [3] * 5)
    assert (full.length, other.length) == (1, 0)


def test_tokens_that_may_never_come_have_no_probability() -> None:
    """`bad_words_ids` of one token have −inf for a logit."""
    model = tiny_encoder_decoder("marian")
    logits = model.prefill(model.start(questions("marian")[0].ids, 4), model.prompt_ids)
    assert np.flatnonzero(logits == -np.inf).tolist() == [2]
