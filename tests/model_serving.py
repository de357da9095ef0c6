"""Servers of whole models for tests: of the tiny ones of tests/goldens, real in all but size, and of stand-ins."""

import asyncio
import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import numpy.typing as npt
from serving import ServerProcess, stand_in_of, until

import qkv
from qkv.v1.models_pb2 import GenerateRequest, GenerateResponse

TINY_MODELS = Path(__file__).parent / "goldens" / "tiny_models"
FAILED = "broken"  # the name of a model that cannot be loaded …
WHY = "config has model_type 'abacus'"  # … and a part of the reason
GO = "The bear waits by the river."


@dataclass(frozen=True)
class Golden:
    """What somebody else computed with a tiny model: `questions` in words, `arrays` by the number of the question."""

    name: str

    @property
    def said(self) -> Mapping[str, Any]:
        content: Mapping[str, Any] = json.loads((TINY_MODELS / self.name / "goldens.json").read_text("utf-8"))
        return content

    @property
    def questions(self) -> Sequence[Mapping[str, Any]]:
        questions: Sequence[Mapping[str, Any]] = self.said["questions"]
        return questions

    def array(self, question: int, name: str) -> npt.NDArray[Any]:
        with np.load(TINY_MODELS / self.name / "goldens.npz") as arrays:
            return np.asarray(arrays[f"{question}/{name}"])


def repository(folder: Path) -> Path:
    """A folder with all tiny models, and one that cannot be loaded."""
    for config in TINY_MODELS.glob("*/config.json"):
        (folder / config.parent.name).symlink_to(config.parent)
    broken = folder / FAILED
    broken.mkdir()
    for file in (TINY_MODELS / "bert").iterdir():
        if file.name != "config.json":
            (broken / file.name).symlink_to(file)
    fields = json.loads((TINY_MODELS / "bert" / "config.json").read_text("utf-8"))
    (broken / "config.json").write_text(json.dumps(fields | {"model_type": "abacus"}), "utf-8")
    return folder


@contextmanager
def serving_models(folder: Path, *arguments: str) -> Iterator[ServerProcess]:
    """A server of the models of a folder, which are all loaded, or have failed."""
    with ServerProcess(["--models", str(folder), *arguments]) as server:
        with qkv.Client(server.address) as client:
            until(lambda: all(model.state != "loading" for model in client.models()))
        yield server


Answer = Callable[[GenerateRequest, grpc.ServicerContext], Iterator[GenerateResponse]]


@contextmanager
def stand_in_writer(generate: Answer) -> Iterator[str]:
    """A server in this process that answers Generate by a function of the test's: its address."""
    handler: grpc.RpcMethodHandler[Any, Any] = grpc.unary_stream_rpc_method_handler(
        generate, GenerateRequest.FromString, GenerateResponse.SerializeToString
    )
    with stand_in_of("qkv.v1.ModelService", {"Generate": handler}) as address:
        yield address


class Endless:
    """Answers without end, and knows when it was asked and when it was given up."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.given_up = threading.Event()

    def __call__(self, _: GenerateRequest, context: grpc.ServicerContext) -> Iterator[GenerateResponse]:
        context.add_callback(self.given_up.set)
        self.begun.set()
        while context.is_active():
            yield GenerateResponse(text="x")
            self.given_up.wait(0.01)


class Both:
    """Asks a method of one of the clients; answers in pieces are read to their end."""

    def __init__(self, address: str, *, awaited: bool) -> None:
        self._address = address
        self._awaited = awaited

    def __call__(self, method: str, *arguments: Any, **options: Any) -> Any:
        if self._awaited:
            return asyncio.run(self._await(method, *arguments, **options))
        with qkv.Client(self._address, retries=False) as client:
            answer = getattr(client, method)(*arguments, **options)
            return answer.read() if isinstance(answer, qkv.TextStream) else answer

    async def _await(self, method: str, *arguments: Any, **options: Any) -> Any:
        async with qkv.AsyncClient(self._address, retries=False) as client:
            answer = getattr(client, method)(*arguments, **options)
            return await (answer.read() if isinstance(answer, qkv.AsyncTextStream) else answer)
