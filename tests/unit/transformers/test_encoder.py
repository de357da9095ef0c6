"""Encoders answer what is asked of them, refuse what they do not have, and nothing depends on company."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from packaged import packaged
from tiny_models import FOLDER, questions, tiny_encoder

from qkv_server.transformers.errors import ModelFileError
from qkv_server.transformers.files import read_model
from qkv_server.transformers.loading import load
from qkv_server.transformers.stacks.encoder_model import EncoderModel

from .changed_config import with_config

GOLDENS = FOLDER.parent


def test_layers_and_heads_are_answered_as_asked() -> None:
    """Layers come in the order asked, also counted from the last, and heads alone are those of all."""
    model, ids = tiny_encoder("bert"), questions("bert")[0].ids
    whole = model.encode(ids, hidden_states=range(3), attentions=range(2))
    some = model.encode(ids, hidden_states=(-1, 0), attentions=(-1,), heads=(3, -4))
    assert [layer for layer, _ in some.hidden_states] == [2, 0]
    assert (some.hidden_states[0][1] == whole.hidden_states[2][1]).all()
    ((layer, maps),) = some.attentions
    assert layer == 1
    assert (maps == whole.attentions[1][1][[3, 0]]).all()


@pytest.mark.parametrize(
    ("question", "problem"),
    [
        ({"ids": []}, "the text has no tokens"),
        ({"ids": [2] * 65}, "the text has 65 tokens, the model reads at most 64"),
        ({"ids": [2, 220]}, "the text: token 220 is not in the vocabulary of 220"),
        ({"hidden_states": (3,)}, "layer 3 of 3, expected -3 to 2"),
        ({"attentions": (0, -3)}, "layer -3 of 2, expected -2 to 1"),
        ({"attentions": (0,), "heads": (4,)}, "head 4 of 4, expected -4 to 3"),
        ({"labels": True}, "the model has no labels for tokens"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_a_model_does_not_have_is_refused(question: dict[str, Any], problem: str) -> None:
    """Layers, heads, labels, tokens and lengths that a model does not have are refused by name."""
    with pytest.raises(ValueError, match=problem):
        tiny_encoder("bert").encode(**{"ids": [2, 3], **question})


@pytest.mark.parametrize(
    ("name", "changed", "problem"),
    [
        ("bert", {"hidden_act": "mish"}, "'hidden_act': 'mish', expected one of gelu"),
        ("bert", {"hidden_size": 33}, "'num_attention_heads': 4, expected a divisor of hidden_size, 33"),
        ("bert", {"intermediate_size": 41}, r"'encoder.layer.0.intermediate.dense.weight' has shape \(40, 32\)"),
        ("bert", {"num_hidden_layers": 3}, "has no tensor 'encoder.layer.2.attention.self.query.weight'"),
        ("bert", {"position_embedding_type": "relative_key"}, "'relative_key', expected 'absolute'"),
        ("distilbert", {"n_heads": None}, "config has no 'n_heads'"),
        ("bert", {"architectures": 5}, "'architectures': 5, expected a list of names"),
        ("bert", {"hidden_act": ["gelu"]}, r"'hidden_act': \['gelu'\], expected one of gelu"),
        ("roberta", {"pad_token_id": 100000}, "'pad_token_id': 100000, expected the number of a token, below 301"),
        ("roberta", {"pad_token_id": 200}, "'max_position_embeddings': 64, expected more than 201, from where on"),
        ("bert-labels", {"id2label": ["O"]}, r"'id2label': \['O'\], expected a mapping"),
        ("bert-labels", {"id2label": {"1": "O"}}, "'id2label': {'1': 'O'}, expected a label for each number"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_config_that_cannot_be_is_refused(name: str, changed: dict[str, object], problem: str) -> None:
    """A config that the tensors do not fit, or that asks for what is not known here, is refused by name."""
    with pytest.raises(ModelFileError, match=problem):
        load(with_config(FOLDER / name, changed))


def test_company_changes_next_to_nothing() -> None:
    """Whatever the BLAS, the vector of a text among others is that of the text alone within 1e-6."""
    model = load(read_model(packaged("minilm")))
    assert isinstance(model, EncoderModel)
    texts = json.loads((GOLDENS / "minilm.json").read_text())["input_ids"]
    vectors = model.embed(texts)
    for text, vector in zip(texts, vectors, strict=True):
        np.testing.assert_allclose(model.embed([text])[0], vector, rtol=0, atol=1e-6)


def test_company_changes_no_bit() -> None:
    """With OpenBLAS's kernels for AVX-512 a text has the same bits alone, in any batch, and on any threads."""
    path = packaged("minilm")
    if {"AVX512_SKX", "X86_V4"}.isdisjoint(np.show_config(mode="dicts")["SIMD Extensions"]["found"]):
        pytest.skip("the processor has no AVX-512")
    environment = {**os.environ, "OPENBLAS_CORETYPE": "SkylakeX", "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, str(Path(__file__).parent / "embed_in_company.py"), str(path)]
    subprocess.run(command, env=environment, check=True, timeout=300)
