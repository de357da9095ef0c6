"""Marian's tiny11 students translate as the oracle does with their weights, in both directions."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conformance.conftest import Agree
from packaged import packaged

from qkv_server.transformers.files import ModelFiles, read_model
from qkv_server.transformers.loading import load
from qkv_server.transformers.stacks.encoder_decoder import EncoderDecoderModel
from qkv_server.transformers.stacks.greedy import greedy

GOLDENS = Path(__file__).parent.parent / "goldens"
ITEMS = json.loads((GOLDENS / "marian_tiny11.json").read_text("utf-8"))["pairs"]
CLEAR_MARGIN = 0.05  # between the two best tokens, from which on rounding does not choose

in_both_directions = pytest.mark.parametrize("pair", ["enpt", "pten"])


@cache
def tiny11(path: Path) -> tuple[ModelFiles, EncoderDecoderModel[Any]]:
    files = read_model(path)
    model = load(files)
    assert isinstance(model, EncoderDecoderModel)
    return files, model


@in_both_directions
def test_translations_are_those_of_the_oracle(pair: str) -> None:
    """Translated together, every sentence becomes the text that the oracle made of it in float32."""
    files, model = tiny11(packaged(pair))
    sources = [encoding.ids for encoding in files.tokenizer.encode_batch([item["text"] for item in ITEMS[pair]])]
    translations = [files.tokenizer.decode(answer) for answer in greedy(model, sources)]
    assert translations == [item["output_f32"] for item in ITEMS[pair]]


@in_both_directions
def test_the_encoder_has_the_states_of_the_oracle(pair: str, agree: Agree) -> None:
    """Hidden states of the encoder are the oracle's within 1e-4."""
    _, model = tiny11(packaged(pair))
    for number, item in enumerate(ITEMS[pair][:2]):
        ids = np.array(item["input_ids"])
        states = model.encoder(model.encoder_embedding(ids, np.arange(len(ids))), [len(ids)])
        golden = np.load(GOLDENS / "marian_tiny11.npz")[f"{pair}_enc_{number}"]
        agree(states, golden, within=1e-4, of="encoder states")


@in_both_directions
def test_logits_and_tokens_are_those_of_the_oracle(pair: str, agree: Agree) -> None:
    """The largest logits of the first step are the oracle's within 1e-3, and every clear token of the answer is its."""
    files, model = tiny11(packaged(pair))
    for item in ITEMS[pair]:
        source = files.tokenizer.encode(item["text"]).ids
        assert source == item["input_ids"]
        stream = model.start(source, 100)
        logits = model.prefill(stream, model.prompt_ids)
        agree(logits[item["top20_ids_first"]], item["top20_logits_first"], within=1e-3, of="logits")
        for token, margin in zip(item["output_ids"], item["margins"], strict=True):
            assert logits.argmax() == token or margin < CLEAR_MARGIN
            logits = model.step([stream], [token])[0]
