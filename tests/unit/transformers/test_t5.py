"""T5 as its config describes it: variants of feed-forward, of the output, and of the distances' bias."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from tiny_models import FOLDER

from qkv_server.transformers.errors import ModelFileError
from qkv_server.transformers.families import t5
from qkv_server.transformers.files import read_model
from qkv_server.transformers.stacks.encoder_decoder import EncoderDecoderModel

from .changed_config import with_config


def first_logits(model: EncoderDecoderModel[Any]) -> np.ndarray[Any, Any]:
    logits: np.ndarray[Any, Any] = model.prefill(model.start([5, 6, 1], 4), model.prompt_ids)
    return logits


def test_states_are_scaled_where_input_and_output_share_a_table() -> None:
    """Older configs say it by `tie_word_embeddings`, newer ones by `scale_decoder_outputs`: by D^(−1/2)."""
    scaled = first_logits(t5.build(read_model(FOLDER / "t5")))
    for said in ({"scale_decoder_outputs": False}, {"scale_decoder_outputs": None, "tie_word_embeddings": False}):
        plain = first_logits(t5.build(with_config(FOLDER / "t5", said)))
        np.testing.assert_allclose(plain * 32**-0.5, scaled, rtol=1e-5, atol=1e-5)


def test_answers_are_as_long_as_the_files_allow() -> None:
    """`max_length` counts what the decoder reads first, `max_new_tokens` does not; else the positions are the bound."""
    files = read_model(FOLDER / "t5")
    assert t5.build(files).answer_tokens(3) == t5.POSITIONS - 1
    assert t5.build(replace(files, generation={**files.generation, "max_length": 20})).answer_tokens(3) == 19
    assert t5.build(replace(files, generation={**files.generation, "max_new_tokens": 20})).answer_tokens(3) == 20


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"feed_forward_proj": "doubled-gelu"}, "'feed_forward_proj': 'doubled-gelu', expected one of"),
        ({"feed_forward_proj": 3}, "'feed_forward_proj': 3, expected one of"),
        ({"feed_forward_proj": "gated-gelu"}, "has no tensor 'encoder.block.0.layer.1.DenseReluDense.wi_0.weight'"),
        ({"relative_attention_num_buckets": 9}, "relative_attention_bias.weight' has shape (8, 4), expected (9, 4)"),
        ({"layer_norm_epsilon": "small"}, "'layer_norm_epsilon': 'small', expected a number"),
        ({"scale_decoder_outputs": "yes"}, "'scale_decoder_outputs': 'yes', expected true or false"),
    ],
)
def test_what_cannot_be_is_named(changed: dict[str, object], message: str) -> None:
    """A config that is unknown or at odds with the tensors is refused, and the field or the tensor is named."""
    with pytest.raises(ModelFileError) as refusal:
        t5.build(with_config(FOLDER / "t5", changed))
    assert message in str(refusal.value)


def test_what_starts_an_answer_must_be_said() -> None:
    """Without `decoder_start_token_id` there is nothing that the decoder could read first."""
    files = with_config(FOLDER / "t5", {"decoder_start_token_id": None})
    with pytest.raises(ModelFileError, match="config has no 'decoder_start_token_id', expected the number of a token"):
        t5.build(replace(files, generation={}))
