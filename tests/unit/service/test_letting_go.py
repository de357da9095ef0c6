"""What is left of a model that is let go: nothing."""

import gc
import threading
import weakref
from typing import Any

from model_serving import TINY_MODELS
from serving import until

from qkv_server.service.limits import ModelLimits
from qkv_server.service.models.served import loader
from qkv_server.transformers.generation.request import Event, GenerationRequest, Piece
from qkv_server.transformers.stacks.decoder import DecoderModel


def test_a_model_that_nobody_holds_is_gone() -> None:
    """Let go in the middle of an answer that is cancelled, a model ends its threads, and gives its memory back."""

    def used() -> "tuple[weakref.ref[Any], weakref.ref[Any]]":
        served = loader(ModelLimits())("llama", TINY_MODELS / "llama", lambda _: None)
        assert isinstance(served.model, DecoderModel)
        begun = threading.Event()

        def on_event(event: Event) -> None:
            if isinstance(event, Piece):
                begun.set()

        prompt = tuple(served.files.tokenizer.encode("The bear waits by the river.").ids)
        handle = served.engine.submit(GenerationRequest(prompt=prompt), on_event)
        halves = served.model.output.halves
        assert halves is not None
        halves.run(lambda: None, lambda: None)  # so that its thread is there
        assert begun.wait(10)
        handle.cancel()
        return weakref.ref(served.model.output.weight), weakref.ref(served.engine)

    before = threading.active_count()
    gc.disable()  # nothing may wait for it
    try:
        weight, engine = used()
        until(lambda: weight() is None and engine() is None)
    finally:
        gc.enable()
    until(lambda: threading.active_count() == before)
