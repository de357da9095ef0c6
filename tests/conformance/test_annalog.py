"""annalog, an encoder-decoder of standard parts, computes what its own code does."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from conformance.conftest import Agree
from packaged import packaged

from qkv_server.transformers.files import ModelFiles, read_model
from qkv_server.transformers.loading import load
from qkv_server.transformers.stacks.encoder_decoder import EncoderDecoderModel
from qkv_server.transformers.stacks.greedy import greedy

GOLDENS = Path(__file__).parent.parent / "goldens"
ITEMS = json.loads((GOLDENS / "annalog.json").read_text("utf-8"))["items"]
CLEAR_MARGIN = 0.05  # between the two best tokens, from which on rounding does not choose


@cache
def annalog(path: Path) -> tuple[ModelFiles, EncoderDecoderModel[Any]]:
    files = read_model(path)
    model = load(files)
    assert isinstance(model, EncoderDecoderModel)
    return files, model


def test_the_encoder_has_the_states_of_its_own_code(agree: Agree) -> None:
    """Molecules have the tokens of its own code, and the hidden states of the encoder within 1e-4."""
    files, model = annalog(packaged("annalog"))
    arrays = np.load(GOLDENS / "annalog.npz")
    for number, item in enumerate(ITEMS):
        source = files.tokenizer.encode(item["smiles"]).ids
        assert source == item["input_ids"]
        if f"enc_{number}" in arrays:
            x = model.encoder_embedding(np.array(source), np.arange(len(source)))
            agree(model.encoder(x, [len(source)]), arrays[f"enc_{number}"], within=1e-4, of="encoder states")


def test_logits_and_tokens_are_those_of_its_own_code(agree: Agree) -> None:
    """The first logits are its own within 1e-3, and so is every clear token of the answer."""
    _, model = annalog(packaged("annalog"))
    arrays = np.load(GOLDENS / "annalog.npz")
    for number, item in enumerate(ITEMS):
        stream = model.start(item["input_ids"], 100)
        logits = model.prefill(stream, model.prompt_ids)
        agree(logits, arrays[f"first_logits_{number}"], within=1e-3, of="logits")
        begin, *answer = item["output_ids"]
        assert (begin,) == model.prompt_ids
        for token, margin in zip(answer, item["margins"], strict=True):
            assert logits.argmax() == token or margin < CLEAR_MARGIN
            logits = model.step([stream], [token])[0]


def test_texts_are_those_of_its_own_code() -> None:
    """Read together, all molecules become those that its own code makes of them."""
    files, model = annalog(packaged("annalog"))
    sources = [encoding.ids for encoding in files.tokenizer.encode_batch([item["smiles"] for item in ITEMS])]
    texts = [files.tokenizer.decode(answer) for answer in greedy(model, sources)]
    assert texts == [item["output"] for item in ITEMS]
