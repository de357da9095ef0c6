"""Calls that come while a model is loaded are told to come back, and hold up nothing else."""

import shutil
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest
from model_serving import GO, TINY_MODELS
from refusals import DEADLINE, refusal_of
from serving import until

import qkv
from qkv.v1 import models_pb2
from qkv_server.embedded import EMBEDDED, EmbeddedServer
from qkv_server.service.limits import ModelLimits
from qkv_server.service.models import served
from qkv_server.transformers.loading import load


class Gate:
    """Holds up every model that is loaded while it is shut."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.open = threading.Event()
        self.open.set()

    def __call__(self, files: Any) -> Any:
        self.begun.set()
        assert self.open.wait(DEADLINE)
        return load(files)

    def shut(self) -> None:
        self.open.clear()
        self.begun.clear()


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    one = Gate()
    monkeypatch.setattr(served, "load", one)
    yield one
    one.open.set()


@contextmanager
def serving(folder: Path, gate: Gate, **models: int) -> Iterator[str]:
    """A server with one worker, of a folder of models that may not be loaded yet: its address."""
    settings = replace(EMBEDDED, models=folder, model_limits=ModelLimits(**models), workers=1)
    server = EmbeddedServer.start(settings)
    try:
        yield server.address
    finally:
        gate.open.set()
        server.stop()


ASKED: list[Callable[[qkv.Client], object]] = [
    lambda client: client.embed(["bear"], model="bert"),
    lambda client: client.embed(["bear"]),
    lambda client: client.generate(GO, model="llama").read(),
    lambda client: client.translate(GO, target="pt").read(),
    lambda client: client.tokenize(["bear"]),
]


def test_a_model_that_is_being_loaded_can_be_asked_later(tmp_path: Path, gate: Gate) -> None:
    """Named or not, it is UNAVAILABLE, with the time to come back, when it answers."""
    for name in ("bert", "llama"):
        (tmp_path / name).symlink_to(TINY_MODELS / name)
    gate.shut()
    with serving(tmp_path, gate) as address, qkv.Client(address, retries=False) as client:
        for ask in ASKED:
            with pytest.raises(qkv.UnavailableError, match=r"being loaded: '(bert|llama)'.*; try again in 1 s") as said:
                ask(client)
            assert (said.value.reason, said.value.retry_delay) == ("MODEL_LOADING", 1.0)
        gate.open.set()
        until(lambda: all(model.state == "ready" for model in client.models()))
        for ask in ASKED[:-1]:
            ask(client)


def test_clients_in_other_languages_are_told_how_long_to_wait(tmp_path: Path, gate: Gate) -> None:
    """The pushback of the server, which gRPC's own retries obey, is as long as what RetryInfo says."""
    (tmp_path / "bert").symlink_to(TINY_MODELS / "bert")
    gate.shut()
    with serving(tmp_path, gate) as address, grpc.insecure_channel(address, [("grpc.enable_retries", 0)]) as channel:
        call: Any = channel.unary_unary("/qkv.v1.ModelService/Embed")
        request = models_pb2.EmbedRequest(model="bert", texts=["bear"]).SerializeToString()
        with pytest.raises(grpc.RpcError) as refused:
            call(request, timeout=DEADLINE)
        trailers: Any = refused.value.trailing_metadata()
        assert ("grpc-retry-pushback-ms", "1000") in trailers
        assert refusal_of(lambda: call(request, timeout=DEADLINE)).code is grpc.StatusCode.UNAVAILABLE


def test_attention_does_not_wait_for_a_model(tmp_path: Path, gate: Gate) -> None:
    """While a model that was let go is loaded again, the only worker answers others; then whoever asked is answered."""
    for name in ("bert", "distilbert"):
        (tmp_path / name).symlink_to(TINY_MODELS / name)
    with qkv.local(models=tmp_path) as client:
        room = max(model.weight_bytes for model in client.models())
    with serving(tmp_path, gate, weight_bytes=room) as address, qkv.Client(address) as client:
        until(lambda: all(model.state == "ready" for model in client.models()))
        (away,) = [model for model in client.models() if model.reason]
        assert away.reason == "was let go to make room for others; is loaded again when it is asked"
        gate.shut()
        with ThreadPoolExecutor() as aside:
            embedding = aside.submit(client.embed_result, ["bear"], model=away.name)
            assert gate.begun.wait(DEADLINE)
            assert client.attention([[1.0, 2.0]]).output.tolist() == [[1.0, 2.0]]
            assert client.model(away.name).reason == "is being loaded"
            assert not embedding.done()
            gate.open.set()
            assert embedding.result(DEADLINE).model == away.name


def test_a_broken_replacement_does_not_take_a_model_down(tmp_path: Path, gate: Gate) -> None:
    """Weights that are cut off, in the place of good ones, are told of beside the model, which answers as before."""
    folder = shutil.copytree(TINY_MODELS / "bert", tmp_path / "bert")
    with serving(tmp_path, gate) as address, qkv.Client(address) as client:
        before = client.embed(["bear"]).tolist()
        (folder / "new").write_bytes((folder / "model.safetensors").read_bytes()[:-100])
        (folder / "new").rename(folder / "model.safetensors")
        until(lambda: bool(client.model("bert").reason))
        told = client.model("bert")
        assert told.state == "ready"
        assert told.reason.startswith("the files changed and cannot be loaded: model.safetensors: ")
        assert told.reason.endswith("; the model before answers")
        assert client.embed(["bear"]).tolist() == before
        assert client.health("qkv.v1.ModelService/bert") is qkv.Health.SERVING
