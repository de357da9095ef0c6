"""Embed as the service begins it: what it holds, and when it lets go."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import pytest
from model_serving import TINY_MODELS

from qkv.v1.models_pb2 import EmbedRequest
from qkv_server.core import Cancellation, CancelledError
from qkv_server.service.errors import ServiceError
from qkv_server.service.limits import Limits, ModelLimits
from qkv_server.service.models.choosing import Models
from qkv_server.service.models.embed import embed
from qkv_server.service.models.served import ServedModel, loader
from qkv_server.service.workers import Turn


class OneModel:
    """A repository of one model, which counts who uses it."""

    def __init__(self) -> None:
        self.users = 0
        self._model = loader(ModelLimits())("bert", TINY_MODELS / "bert", lambda _: None)

    @contextmanager
    def lease(self, *_: Any) -> Iterator[ServedModel]:
        self.users += 1
        try:
            yield self._model
        finally:
            self.users -= 1


@pytest.fixture
def models() -> OneModel:
    return OneModel()


def begin(models: OneModel, request: EmbedRequest, turn: Turn) -> Any:
    return embed(cast("Models", models), Limits(), request, turn)


def test_a_model_is_held_until_its_answer_is_made(models: OneModel) -> None:
    """The turn of a call ends before its texts are computed; the model stays in memory until they are."""
    line: list[Callable[[], None]] = []
    answer = begin(models, EmbedRequest(texts=["bear", "river"]), Turn(later=line.append))
    assert not answer.done()
    assert models.users == 1
    line.pop()()
    assert answer.result(0).message.model == "bert"
    assert len(answer.result(0).message.tokens) == 2
    assert models.users == 0


def test_a_call_that_nobody_waits_for_lets_its_model_go(models: OneModel) -> None:
    """Cancelled while it waits, a call is not computed, and holds its model no more."""
    line: list[Callable[[], None]] = []
    cancellation = Cancellation()
    answer = begin(models, EmbedRequest(texts=["bear"]), Turn(cancellation=cancellation, later=line.append))
    cancellation.cancel()
    line.pop()()
    with pytest.raises(CancelledError):
        answer.result(0)
    assert models.users == 0


def test_a_refused_call_lets_its_model_go(models: OneModel) -> None:
    """What is refused after the model was found holds it no more, and nothing waits."""
    line: list[Callable[[], None]] = []
    request = EmbedRequest(texts=["bear", "river " * 100], refuse_long_texts=True)
    with pytest.raises(ServiceError, match=r"texts\[1\] has 102 tokens, the model reads 16"):
        begin(models, request, Turn(later=line.append))
    assert models.users == 0
    assert not line
