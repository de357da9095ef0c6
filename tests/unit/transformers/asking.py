"""Asks an engine over the echo model, and waits for what it does."""

from qkv_server.transformers.generation.engine import Engine
from qkv_server.transformers.generation.request import GenerationRequest

from .echo_model import EchoStream, prompt
from .receiver import Receiver


def ask(engine: Engine[EchoStream], text: str, **options: object) -> Receiver:
    """Ask for the echo of a text."""
    receiver = Receiver()
    engine.submit(GenerationRequest(prompt=prompt(text), **options), receiver)  # type: ignore[arg-type]
    return receiver


def echo(engine: Engine[EchoStream], text: str, **options: object) -> str:
    """The echo of a text."""
    receiver = ask(engine, text, **options)
    receiver.finished()
    return receiver.text
