"""Answers in pieces as the service begins them: each has an end."""

import asyncio
import contextlib
import time
from types import SimpleNamespace
from typing import Any, cast

import pytest

from qkv.v1.models_pb2 import GenerateResponse
from qkv_server.service.models.answering import Answering, Handle
from qkv_server.service.models.served import ServedModel
from qkv_server.service.pieces import Pieces
from qkv_server.transformers.generation.request import GeneratedToken, OnEvent, Piece
from qkv_server.transformers.generation.sampling import LogProbability


class NoPieces:
    """A tokenizer that is broken."""

    def piece(self, number: int) -> str:
        raise KeyError(f"no piece {number}")


def test_what_cannot_be_told_ends_the_answer() -> None:
    """Where an event cannot become a message, whoever waits for the next piece hears of it, and the engine, too."""

    def submit(tell: OnEvent) -> Handle:
        with contextlib.suppress(KeyError):
            tell(Piece("bear", (GeneratedToken(LogProbability(7, -1.0), ()),)))
            pytest.fail("the engine did not hear of it")
        return cast("Handle", SimpleNamespace(cancel=lambda: None))

    async def first() -> Any:
        pieces = Pieces()
        model = cast("ServedModel", SimpleNamespace(files=SimpleNamespace(tokenizer=NoPieces())))
        Answering(GenerateResponse, "prompt", model, time.monotonic(), pieces).begin(submit)
        return await asyncio.wait_for(anext(pieces), 10)

    with pytest.raises(KeyError, match="no piece 7"):
        asyncio.run(first())
