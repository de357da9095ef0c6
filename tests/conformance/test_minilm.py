"""MiniLM computes what transformers does with its files: vectors, every hidden state and every attention map."""

import json
from functools import cache
from pathlib import Path

import numpy as np
from conformance.conftest import Agree
from packaged import packaged

from qkv_server.transformers.files import ModelFiles, read_model
from qkv_server.transformers.loading import load
from qkv_server.transformers.stacks.encoder_model import EncoderModel
from qkv_server.transformers.text.truncation import truncated

GOLDENS = Path(__file__).parent.parent / "goldens"
SAID = json.loads((GOLDENS / "minilm.json").read_text("utf-8"))
TOLERANCE = 1e-5


@cache
def minilm(path: Path) -> tuple[ModelFiles, EncoderModel]:
    files = read_model(path)
    model = load(files)
    assert isinstance(model, EncoderModel)
    return files, model


def test_vectors_are_those_of_the_oracle(agree: Agree) -> None:
    """The vectors of eight sentences, read and cut as its files say, are the oracle's within 1e-5."""
    files, model = minilm(packaged("minilm"))
    encodings = files.tokenizer.encode_batch(SAID["sentences"])
    ids = [truncated(encoding, model.description.text_tokens).ids for encoding in encodings]
    assert ids == SAID["input_ids"]
    agree(model.embed(ids), np.load(GOLDENS / "minilm.npz")["embeddings"], within=TOLERANCE, of="embeddings")


def test_states_and_maps_of_all_layers_are_those_of_the_oracle(agree: Agree) -> None:
    """All hidden states of a sentence and all attention maps are the oracle's within 1e-5."""
    _, model = minilm(packaged("minilm"))
    golden, layers = np.load(GOLDENS / "minilm.npz"), model.description.layers
    found = model.encode(SAID["input_ids"][0], hidden_states=range(layers + 1), attentions=range(layers))
    agree([array for _, array in found.attentions], golden["attentions"], within=TOLERANCE, of="attention maps")
    agree([array for _, array in found.hidden_states], golden["hidden_states"], within=TOLERANCE, of="hidden states")
