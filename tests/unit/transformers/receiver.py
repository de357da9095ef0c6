"""Takes the events of a generation, and waits for the last."""

import threading

from qkv_server.transformers.generation.request import Event, Failed, Finished, Piece

SECONDS = 60


class Receiver:
    """Takes the events of one request."""

    def __init__(self) -> None:
        self.pieces: list[Piece] = []
        self.last: Finished | Failed | None = None
        self._ended = threading.Event()

    def __call__(self, event: Event) -> None:
        assert self.last is None, "an event after the last one"
        if isinstance(event, Piece):
            self.pieces.append(event)
        else:
            if isinstance(event, Finished) and event.rest != Piece(""):
                self.pieces.append(event.rest)
            self.last = event
            self._ended.set()

    @property
    def text(self) -> str:
        return "".join(piece.text for piece in self.pieces)

    def finished(self) -> Finished:
        assert self._ended.wait(SECONDS)
        assert isinstance(self.last, Finished), self.last
        return self.last

    def failed(self) -> Exception:
        assert self._ended.wait(SECONDS)
        assert isinstance(self.last, Failed), self.last
        return self.last.error
