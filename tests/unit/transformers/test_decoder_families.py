"""Configs of decoders in their older and newer forms, and what is said of a wrong one."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_models import FOLDER, questions

from qkv_server.core import LinearScaling, YarnScaling
from qkv_server.transformers.errors import ModelFileError
from qkv_server.transformers.files import read_model
from qkv_server.transformers.layers.positions import RotaryDescription
from qkv_server.transformers.loading import load
from qkv_server.transformers.stacks.decoder import DecoderModel


def changed(folder: Path, family: str, **fields: Any) -> DecoderModel:
    """A tiny model with other fields in its config; None takes a field away."""
    shutil.copytree(FOLDER / family, folder, dirs_exist_ok=True)
    config = json.loads((folder / "config.json").read_text()) | fields
    (folder / "config.json").write_text(json.dumps({key: value for key, value in config.items() if value is not None}))
    model = load(read_model(folder))
    assert isinstance(model, DecoderModel)
    return model


@pytest.mark.parametrize(
    ("family", "fields", "problem"),
    [
        ("llama", {"num_key_value_heads": 3}, "'num_key_value_heads': 3, expected a divisor of num_attention_heads, 4"),
        ("llama", {"head_dim": 7}, "'head_dim': 7, expected an even number"),
        ("llama", {"hidden_act": "mish"}, "'hidden_act': 'mish', expected one of gelu"),
        ("llama", {"rope_scaling": {"rope_type": "dynamic", "factor": 2}}, "expected rope_type default, linear"),
        ("llama", {"rope_scaling": {"rope_type": "linear"}}, "expected factor, a number above 0"),
        ("llama", {"rope_scaling": 8}, "'rope_scaling': 8, expected a mapping"),
        ("llama", {"tie_word_embeddings": False}, "has no tensor 'lm_head.weight', expected one of shape (300, 32)"),
        ("llama", {"intermediate_size": 65}, "expected (65, 32)"),
        ("llama", {"num_hidden_layers": 3}, "has no tensor 'model.layers.2."),
        ("llama", {"vocab_size": None}, "config has no 'vocab_size', expected a whole number from 1"),
        ("llama", {"model_type": None}, "config has no model_type, expected one of"),
        ("gpt2", {"n_layer": 3}, "has no tensor 'transformer.h.2.ln_1.weight'"),
        ("llama", {"model_type": "lama"}, "config has model_type 'lama', expected one of"),
        ("gemma2", {"layer_types": ["full_attention"]}, "expected 2 of full_attention and sliding_attention"),
        ("gemma2", {"rope_parameters": 1}, "'rope_parameters': 1, expected a mapping"),
        ("gpt2", {"n_head": 5}, "'n_head': 5, expected a divisor of n_embd, 32"),
        ("gpt2", {"scale_attn_by_inverse_layer_idx": True}, "expected false"),
        ("llama", {"hidden_act": ["gelu"]}, "'hidden_act': ['gelu'], expected one of gelu"),
        ("llama", {"layer_types": [["full_attention"]]}, "[['full_attention']], expected a list of names"),
        ("llama", {"layer_types": 5}, "'layer_types': 5, expected a list of names"),
        ("llama", {"rms_norm_eps": -1}, "'rms_norm_eps': -1, expected a number above 0"),
        ("llama", {"rms_norm_eps": float("nan")}, "'rms_norm_eps': nan, expected a number above 0"),
        ("llama", {"max_position_embeddings": 2**31}, "2147483648, expected a whole number from 1 to 2147483647"),
        ("llama", {"rope_scaling": {"rope_type": "linear", "factor": 1e999}}, "expected factor, a number above 0"),
        ("gpt2", {"task_specific_params": {"text-generation": 5}}, "expected a mapping for 'text-generation'"),
        ("gpt2", {"min_length": -1}, "'min_length': -1, expected a whole number from 0"),
    ],
)
def test_a_wrong_config_is_told_by_its_field(tmp_path: Path, family: str, fields: dict[str, Any], problem: str) -> None:
    """What is missing, wrong or not known is named, and what was expected."""
    with pytest.raises(ModelFileError, match=re.escape(problem)):
        changed(tmp_path, family, **fields)


def test_layers_without_types_have_windows_by_family(tmp_path: Path) -> None:
    """Where the config does not say layer_types, Gemma 2 alternates, and every layer of Mistral has a window."""
    gemma = changed(tmp_path / "gemma2", "gemma2", layer_types=None)
    assert [layer.window for layer in gemma.description.layers] == [6, None]
    mistral = changed(tmp_path / "mistral", "mistral")
    assert [layer.window for layer in mistral.description.layers] == [6, 6]
    without = changed(tmp_path / "none", "mistral", sliding_window=None)
    assert [layer.window for layer in without.description.layers] == [None, None]
    qwen = changed(tmp_path / "qwen2", "qwen2", layer_types=None, use_sliding_window=True, sliding_window=9)
    assert [layer.window for layer in qwen.description.layers] == [None, 9]


def test_rotary_parameters_are_read_in_both_forms(tmp_path: Path) -> None:
    """rope_parameters says the same as rope_theta with rope_scaling."""
    yarn = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64, "beta_fast": 16}
    newer = changed(tmp_path / "newer", "llama", rope_parameters={"rope_theta": 500.0, **yarn}, rope_theta=None)
    older = changed(tmp_path / "older", "llama", rope_scaling=yarn, rope_theta=500.0)
    scaling = YarnScaling(factor=4.0, original_length=64, beta_fast=16.0)
    expected = RotaryDescription(base=500.0, scaling=scaling)
    for model in (newer, older):
        assert [layer.rotary for layer in model.description.layers] == [expected] * 2


def test_layers_with_a_window_may_turn_otherwise(tmp_path: Path) -> None:
    """Gemma 3's rotary parameters by layer type say the same as its older fields for the two bases."""
    newer = load(read_model(FOLDER / "gemma3")).description
    older = changed(
        tmp_path,
        "gemma3",
        rope_parameters=None,
        layer_types=None,
        rope_theta=1e6,
        rope_scaling={"rope_type": "linear", "factor": 8.0},
        rope_local_base_freq=1e4,
        sliding_window_pattern=6,
    )
    assert older.description == newer
    *sliding, full = (layer.rotary for layer in older.description.layers)
    assert sliding == [RotaryDescription(base=1e4)] * 5
    assert full == RotaryDescription(base=1e6, scaling=LinearScaling(factor=8.0))


def test_company_changes_no_more_than_rounding() -> None:
    """A stream that steps in a batch has the logits that it has alone, within 1e-5.

    Its neighbours' tokens change no bit of it: only their number does.
    """
    model = load(read_model(FOLDER / "llama"))
    assert isinstance(model, DecoderModel)
    ids = questions("llama")[1].ids

    def answered(*prompts: list[int]) -> np.ndarray[Any, Any]:
        streams = [model.new_stream(len(prompt) + 1) for prompt in prompts]
        for stream, prompt in zip(streams, prompts, strict=True):
            model.prefill(stream, prompt)
        return model.step(streams, [9] * len(prompts))

    alone = answered(ids)[0]
    for company in ([ids[:4]], [ids[:5], ids[:2]], [ids[:3]] * 15):
        together = answered(ids, *company)[0]
        np.testing.assert_allclose(together, alone, rtol=0, atol=1e-5)
        assert together.tobytes() == answered(ids, *([other[::-1] for other in company]))[0].tobytes()
