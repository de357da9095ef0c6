"""Calls that embed at the same time, over gRPC."""

import asyncio
from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray
from serving import ServerProcess

import qkv

WORDS = ["the", "old", "bear", "waits", "by", "the", "river", "and", "the", "children", "play", "near", "the", "market"]


@pytest.fixture
def texts() -> list[list[str]]:
    """The texts of sixty calls, a few of them long calls."""
    return [
        [" ".join(WORDS[begin % 9 :][: 1 + begin % 5]) for begin in range(call, call + (200 if call % 20 == 0 else 1))]
        for call in range(60)
    ]


def test_each_call_gets_what_it_gets_alone(model_server: ServerProcess, texts: Sequence[Sequence[str]]) -> None:
    """Sixty calls at once, of one text or of hundreds, are answered with the vectors that each has alone."""

    async def together() -> list[NDArray[np.float32]]:
        async with qkv.AsyncClient(model_server.address) as client:
            vectors: list[NDArray[np.float32]] = await asyncio.gather(
                *(client.embed(call, model="bert") for call in texts)
            )
            return vectors

    with qkv.Client(model_server.address) as client:
        for call, vectors in zip(texts, asyncio.run(together()), strict=True):
            np.testing.assert_allclose(vectors, client.embed(call, model="bert"), rtol=0, atol=1e-5)
