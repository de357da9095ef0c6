"""Tiny calls are answered by the event loop; all others need a worker."""

import asyncio
from dataclasses import asdict
from typing import Any

import grpc
import numpy as np
import pytest

import qkv
from qkv.v1.attention_pb2 import AttentionRequest
from qkv.wire import Received
from qkv_server.service.calls import Calls
from qkv_server.service.limits import Limits
from qkv_server.service.request import read
from qkv_server.service.workers import Workers
from qkv_server.transport.attention import attention_handler

X = np.ones((1, 2), np.float32)
ROWS = np.ones((1, 1000, 2), np.float32)  # 8 kB, but a million scores
HEADS = np.ones((64, 8, 16), np.float32)  # 4,096 scores, but 32 kB


def call_without_workers(query: Any) -> Any:
    """What a server answers that has no worker to give."""

    async def scenario() -> Any:
        workers = Workers(threads=1, queue=0)
        held = asyncio.Event()
        server = grpc.aio.server()
        server.add_generic_rpc_handlers((attention_handler(Calls(workers, Limits())),))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        loop = asyncio.get_running_loop()
        work = asyncio.create_task(workers.run(lambda _: asyncio.run_coroutine_threadsafe(held.wait(), loop).result()))
        try:
            async with qkv.AsyncClient(f"127.0.0.1:{port}", retries=False) as client:
                return (await client.attention(query)).output
        finally:
            held.set()
            await work
            await server.stop(0)
            workers.close()

    return asyncio.run(scenario())


def test_a_tiny_call_needs_no_worker() -> None:
    np.testing.assert_array_equal(call_without_workers(X), X)


@pytest.mark.parametrize("query", [ROWS, HEADS], ids=["many scores", "many bytes"])
def test_any_other_call_needs_one(query: Any) -> None:
    with pytest.raises(qkv.UnavailableError, match="busy"):
        call_without_workers(query)


def test_an_empty_message_is_none() -> None:
    """What a field of a message stands for when it is not given, an empty message stands for too."""
    operand = {"matrix": {"rows": 1, "columns": 2, "values": [1.0, 2.0]}}
    bare = read(Received(AttentionRequest(query=operand)))
    empty = read(Received(AttentionRequest(query=operand, multi_head={}, visibility={}, scoring={})))
    for name in ("multi_head", "visibility", "scoring"):
        assert asdict(getattr(bare.problem, name)) == asdict(getattr(empty.problem, name))
