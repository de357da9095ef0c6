"""Two models that are real in all but size, a folder and a GGUF file, and what transformers computed with them."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np

import qkv
from compose_test.parts import ROOT

TINY_MODELS = ROOT / "tests" / "goldens" / "tiny_models"
ENCODER, DECODER = "bert", "llama"
GGUF = TINY_MODELS / "llama-gguf"


def put(folder: Path) -> None:
    """Put them into a folder, each whole from the first moment that it has its name."""
    unfinished = folder / f".{ENCODER}"
    shutil.copytree(TINY_MODELS / ENCODER, unfinished)
    unfinished.rename(folder / ENCODER)
    shutil.copyfile(GGUF / f"{DECODER}.gguf", folder / f"{DECODER}.gguf.unfinished")
    (folder / f"{DECODER}.gguf.unfinished").rename(folder / f"{DECODER}.gguf")


def states(client: qkv.Client) -> dict[str, str]:
    """What has become of each model that the server sees: its state, or why it cannot be used."""
    return {model.name: model.reason or model.state for model in client.models()}


def differences(client: qkv.Client) -> list[str]:
    """The models whose answers are not those of transformers."""
    different = []
    texts = [question["text"] for question in _questions(TINY_MODELS / ENCODER)]
    with np.load(TINY_MODELS / ENCODER / "goldens.npz") as arrays:
        expected = np.stack([arrays[f"{number}/embedding"] for number in range(len(texts))])
    if not np.allclose(client.embed(texts, model=ENCODER), expected, rtol=0, atol=1e-4):
        different.append(ENCODER)
    for question in _questions(GGUF):
        ids = question["greedy"]["ids"]
        answer = client.generate(question["text"], model=DECODER, max_tokens=len(ids), top_log_probabilities=0).read()
        if [each.token.id for each in answer.tokens] != ids:
            different.append(DECODER)
    return different


def _questions(model: Path) -> list[dict[str, Any]]:
    return list(json.loads((model / "goldens.json").read_text("utf-8"))["questions"])
