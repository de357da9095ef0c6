"""Pieces bring an answer from other threads to the event loop, and let go of what its making holds."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from qkv.v1.models_pb2 import GenerateResponse
from qkv.wire import Draft
from qkv_server.service.pieces import Pieces


def draft(text: str) -> Draft[GenerateResponse]:
    return Draft(GenerateResponse(text=text))


async def texts(pieces: Pieces) -> list[str]:
    return [piece.message.text async for piece in pieces]  # type: ignore[attr-defined]


def test_pieces_of_another_thread_come_in_order() -> None:
    """What a thread puts is iterated in its order, until the thread says that it was all."""

    async def read() -> list[str]:
        pieces = Pieces()

        def make() -> None:
            for number in range(100):
                pieces.put(draft(str(number)))
            pieces.end()

        thread = threading.Thread(target=make)
        thread.start()
        try:
            return await texts(pieces)
        finally:
            thread.join()

    assert asyncio.run(read()) == [str(number) for number in range(100)]


def test_a_failure_is_raised_after_the_pieces_before_it() -> None:
    """An answer that fails gives what it has, and then raises what went wrong."""

    async def read() -> None:
        pieces = Pieces()
        pieces.put(draft("a"))
        pieces.fail(ArithmeticError("broken"))
        assert (await anext(pieces)).message == draft("a").message
        with pytest.raises(ArithmeticError, match="broken"):
            await anext(pieces)

    asyncio.run(read())


def test_closing_lets_go_of_everything_once() -> None:
    """What is held is let go the last first, once, and at once where it comes after the close."""

    async def close() -> list[str]:
        left: list[str] = []

        @contextmanager
        def held(name: str) -> Iterator[str]:
            yield name
            left.append(name)

        pieces = Pieces()
        assert pieces.keep(held("first")) == "first"
        pieces.on_close(lambda: left.append("second"))
        assert left == []
        pieces.close()
        pieces.close()
        assert left == ["second", "first"]
        pieces.keep(held("late"))
        return left

    assert asyncio.run(close()) == ["second", "first", "late"]


def test_what_is_put_for_a_loop_that_is_gone_is_lost() -> None:
    """A thread that has not heard of the end of the event loop is not disturbed by it."""

    async def make() -> Pieces:
        return Pieces()

    pieces = asyncio.run(make())
    pieces.put(draft("a"))
    pieces.end()
