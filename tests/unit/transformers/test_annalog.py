"""annalog, an encoder-decoder of standard parts, computes what its own code does."""

import json
from pathlib import Path

import numpy as np
from packaged import packaged

from qkv_server.transformers.files import read_model
from qkv_server.transformers.loading import load
from qkv_server.transformers.stacks.encoder_decoder import EncoderDecoderModel
from qkv_server.transformers.stacks.greedy import translate

GOLDENS = Path(__file__).parents[2] / "goldens"
ITEMS = json.loads((GOLDENS / "annalog.json").read_text())["items"]
CLEAR_MARGIN = 0.05  # between the two best tokens, from which on rounding does not choose


def test_encoder_logits_tokens_and_texts_are_those_of_its_own_code() -> None:
    """States of the encoder within 1e-4, the first logits within 1e-3, all clear tokens, and the molecules."""
    files = read_model(packaged("annalog"))
    model = load(files)
    assert isinstance(model, EncoderDecoderModel)
    arrays = np.load(GOLDENS / "annalog.npz")
    for number, item in enumerate(ITEMS):
        source = files.tokenizer.encode(item["smiles"]).ids
        assert source == item["input_ids"]
        if f"enc_{number}" in arrays:
            x = model.encoder_embedding(np.array(source), np.arange(len(source)))
            np.testing.assert_allclose(model.encoder(x, [len(source)]), arrays[f"enc_{number}"], rtol=0, atol=1e-4)
        stream = model.start(source, 100)
        logits = model.prefill(stream, model.prompt_ids)
        np.testing.assert_allclose(logits, arrays[f"first_logits_{number}"], rtol=0, atol=1e-3)
        begin, *answer = item["output_ids"]
        assert (begin,) == model.prompt_ids
        for token, margin in zip(answer, item["margins"], strict=True):
            assert logits.argmax() == token or margin < CLEAR_MARGIN
            logits = model.step([stream], [token])[0]
    texts = [item["smiles"] for item in ITEMS]
    assert translate(model, files.tokenizer, texts) == [item["output"] for item in ITEMS]
