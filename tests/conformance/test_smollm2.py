"""SmolLM2 computes what transformers does with its weights, for every prompt of the goldens."""

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conformance.conftest import Agree
from packaged import packaged
from threadpoolctl import threadpool_limits

from qkv_server.transformers.files import read_model
from qkv_server.transformers.loading import load
from qkv_server.transformers.stacks.decoder import DecoderModel

ITEMS: list[dict[str, Any]] = json.loads((Path(__file__).parent.parent / "goldens" / "smollm2.json").read_text())[
    "items"
]
TOLERANCE = 1e-3  # of logits
CLEAR_MARGIN = 0.05  # between the two best tokens, from which on rounding does not choose


@cache
def loaded(path: Path) -> DecoderModel:
    model = load(read_model(path))
    assert isinstance(model, DecoderModel)
    return model


@pytest.fixture
def smollm2() -> Iterator[DecoderModel]:
    with threadpool_limits(1, user_api="blas"):  # as in a server
        yield loaded(packaged("smollm2"))


@pytest.mark.parametrize("item", ITEMS, ids=lambda item: item["name"])
@pytest.mark.parametrize("chunk", [16, 1000])
def test_logits_are_those_of_the_oracle(smollm2: DecoderModel, item: dict[str, Any], chunk: int, agree: Agree) -> None:
    """After a prompt, read whole or in chunks, the likeliest tokens have the oracle's logits within 1e-3."""
    ids = item["input_ids"]
    stream = smollm2.new_stream(len(ids))
    for begin in range(0, len(ids), chunk):
        logits = smollm2.prefill(stream, ids[begin : begin + chunk])
    agree(logits[item["top20_ids"]], item["top20_logits"], within=TOLERANCE, of="logits")
    assert set(np.argpartition(logits, -10)[-10:]) <= set(item["top20_ids"])
    if "every_16th_logit" in item:
        agree(logits[::16], item["every_16th_logit"], within=TOLERANCE, of="logits")


def test_greedy_answers_are_those_of_the_oracle(smollm2: DecoderModel) -> None:
    """All answers, which step together, have the oracle's tokens wherever the margin is clear."""
    streams = [smollm2.new_stream(len(item["input_ids"]) + len(item["greedy_ids"])) for item in ITEMS]
    logits = [smollm2.prefill(stream, item["input_ids"]) for stream, item in zip(streams, ITEMS, strict=True)]
    for place in range(max(len(item["greedy_ids"]) for item in ITEMS)):
        going = [number for number, item in enumerate(ITEMS) if place < len(item["greedy_ids"])]
        for number in going:
            if ITEMS[number]["greedy_margin"][place] > CLEAR_MARGIN:
                assert logits[number].argmax() == ITEMS[number]["greedy_ids"][place]
        stepped = smollm2.step(
            [streams[number] for number in going], [ITEMS[number]["greedy_ids"][place] for number in going]
        )
        for number, of_stream in zip(going, stepped, strict=True):
            logits[number] = of_stream
