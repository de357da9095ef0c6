"""Answers in pieces, as the two clients hand them out."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any, Self

from qkv._texts import Reading, TextResult

Told = Callable[[], AbstractContextManager[None]]  # within it, errors of gRPC are those of this package


class TextStream(Iterator[str]):
    """The text of an answer, piece by piece as it comes; an iterator, and a context manager that gives up the rest.

        with client.generate("Once upon a time") as answer:
            for piece in answer:
                print(piece, end="", flush=True)
        print(answer.result.usage)

    Raises the errors under CallError as soon as there is one, also in the middle of an answer.
    """

    def __init__(self, messages: Any, told: Told) -> None:
        self._messages = messages
        self._told = told
        self._reading = Reading()

    def __next__(self) -> str:
        with self._told():
            for message in self._messages:
                if piece := self._reading.take(message.message):
                    return piece
        raise StopIteration

    @property
    def result(self) -> TextResult:
        """The whole answer and how it ended; raises UnfinishedError unless it was read to its end."""
        return self._reading.result

    def read(self) -> TextResult:
        """Wait for the rest, and return the whole answer."""
        for _ in self:
            pass
        return self.result

    def close(self) -> None:
        """Give up what has not come yet: the server stops working on it. Of a finished answer nothing is lost."""
        self._messages.cancel()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class AsyncTextStream(AsyncIterator[str]):
    """The text of an answer for asyncio: as `TextStream`, with `async for`, `await read()` and `async with`."""

    def __init__(self, messages: Any, told: Told) -> None:
        self._messages = messages
        self._iterator = aiter(messages)
        self._told = told
        self._reading = Reading()

    async def __anext__(self) -> str:
        with self._told():
            async for message in self._iterator:
                if piece := self._reading.take(message.message):
                    return piece
        raise StopAsyncIteration

    @property
    def result(self) -> TextResult:
        """The whole answer and how it ended; raises UnfinishedError unless it was read to its end."""
        return self._reading.result

    async def read(self) -> TextResult:
        """Wait for the rest, and return the whole answer."""
        async for _ in self:
            pass
        return self.result

    async def aclose(self) -> None:
        """Give up what has not come yet: the server stops working on it. Of a finished answer nothing is lost."""
        self._messages.cancel()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()
