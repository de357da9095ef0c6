"""BART and mBART as their files describe them: how answers begin, and what its tables must be."""

from dataclasses import replace

import pytest
from tiny_models import FOLDER

from qkv_server.transformers.errors import ModelFileError
from qkv_server.transformers.families import bart
from qkv_server.transformers.files import read_model
from qkv_server.transformers.loading import load

from .changed_config import with_config


def test_a_forced_first_token_is_read_at_once() -> None:
    """The decoder reads its start and the token that is forced behind it, and the answer follows; else the start."""
    files = read_model(FOLDER / "bart")
    assert bart.build(files).prompt_ids == (2, 0)
    generation = {name: value for name, value in files.generation.items() if name != "forced_bos_token_id"}
    assert bart.build(replace(files, generation=generation)).prompt_ids == (2,)


def test_an_mbart_answers_in_the_language_that_is_forced() -> None:
    """The decoder reads its start and the code of the target language; the code of the source ends the text."""
    files = read_model(FOLDER / "mbart")
    assert [files.tokenizer.piece(token) for token in bart.build(files).prompt_ids] == ["</s>", "de_DE"]
    assert files.tokenizer.encode("bears").pieces[-2:] == ["</s>", "en_XX"]
    assert files.languages == (("en", "de"),)


def test_positions_bound_source_and_answer() -> None:
    """It reads as many tokens as it has positions, on either side."""
    model = bart.build(read_model(FOLDER / "bart"))
    assert (model.source_tokens, model.context_tokens, model.answer_tokens(5)) == (64, 64, 62)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"normalize_before": True}, "config has 'normalize_before': True, expected false"),
        ({"model_type": "mbart"}, "has no tensor 'model.encoder.layer_norm.weight', expected one of shape (32,)"),
        (
            {"max_position_embeddings": 60},
            "tensor 'model.encoder.embed_positions.weight' has shape (66, 32), expected (62, 32)",
        ),
        ({"decoder_layers": 3}, "has no tensor 'model.decoder.layers.2.self_attn.q_proj.weight'"),
        ({"encoder_ffn_dim": 41}, "tensor 'model.encoder.layers.0.fc1.weight' has shape (40, 32), expected (41, 32)"),
        ({"vocab_size": -1}, "'vocab_size': -1, expected a whole number from 1"),
        (
            {"decoder_start_token_id": 99999},
            "'decoder_start_token_id': 99999, expected the number of a token, below 301",
        ),
        ({"task_specific_params": [1]}, "'task_specific_params': [1], expected a mapping"),
        (
            {"task_specific_params": {"summarization": 5}},
            "{'summarization': 5}, expected a mapping for 'summarization'",
        ),
        ({"task_specific_params": {"a": {"prefix": 5}}}, "{'a': {'prefix': 5}}, expected a text as prefix of 'a'"),
        (
            {"task_specific_params": {"a": {"max_length": "x"}}},
            "config has 'max_length' of a task: 'x', expected a whole number above 1",
        ),
        (
            {"task_specific_params": {"a": {"max_length": 1}}},
            "config has 'max_length' of a task: 1, expected a whole number above 1",
        ),
    ],
)
def test_what_cannot_be_is_named(changed: dict[str, object], message: str) -> None:
    """A config at odds with the tensors, or with what its fields mean, is refused, and what is wrong is named."""
    with pytest.raises(ModelFileError) as refusal:
        load(replace(with_config(FOLDER / "bart", changed), generation={}))
    assert message in str(refusal.value)


@pytest.mark.parametrize(
    ("generation", "message"),
    [
        ({"decoder_start_token_id": 301}, "'decoder_start_token_id': 301, expected the number of a token, below 301"),
        ({"forced_bos_token_id": -1}, "'forced_bos_token_id': -1, expected the number of a token, below 301"),
        ({"bad_words_ids": [[301]]}, "'bad_words_ids': [[301]], expected lists of numbers of tokens, below 301"),
        ({"bad_words_ids": "x"}, "'bad_words_ids': 'x', expected lists of numbers of tokens, below 301"),
        ({"max_length": 2}, "'max_length': 2, expected a whole number above 2"),
        ({"max_new_tokens": 0}, "'max_new_tokens': 0, expected a whole number above 0"),
        ({"max_new_tokens": 5, "max_length": "abc"}, "'max_length': 'abc', expected a whole number above 2"),
        ({"eos_token_id": "1"}, "'eos_token_id': '1', expected the number of a token, below 301, or a list of them"),
        (
            {"eos_token_id": [[2]]},
            "'eos_token_id': [[2]], expected the number of a token, below 301, or a list of them",
        ),
        ({"eos_token_id": 301}, "'eos_token_id': 301, expected the number of a token, below 301, or a list of them"),
    ],
)
def test_what_cannot_be_said_of_answers_is_named(generation: dict[str, object], message: str) -> None:
    """What generation_config.json says is checked when the model is loaded, not when it answers."""
    files = read_model(FOLDER / "bart")
    with pytest.raises(ModelFileError) as refusal:
        bart.build(replace(files, generation={**files.generation, **generation}))
    assert str(refusal.value) == f"bart: generation_config has {message}"
