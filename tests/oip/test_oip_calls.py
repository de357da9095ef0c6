"""The ways in which Triton's client calls: many at a time, asynchronously, in streams, and with much data."""

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from typing import Any

import numpy as np
import pytest
from oip.asking import MODEL, SECONDS, formula, infer, inputs, random
from serving import ServerProcess
from tritonclient.grpc import InferenceServerClient  # type: ignore[import-not-found]
from tritonclient.grpc.aio import InferenceServerClient as AsyncClient  # type: ignore[import-not-found]

CALLS = 32


def question(seed: int) -> list[Any]:
    return inputs({"Q": random(seed, 1, 2, 8, 4)})


def expected(seed: int) -> Any:
    q = random(seed, 1, 2, 8, 4)
    return formula(q, q, q)


def assert_right(result: Any, seed: int) -> None:
    assert result.get_response().id == str(seed)
    np.testing.assert_allclose(result.as_numpy("Y"), expected(seed), atol=1e-5)


def test_concurrent_calls_have_their_own_answers(triton: Any) -> None:
    """Threads that share a client each get what they asked for."""
    with ThreadPoolExecutor(8) as threads:
        ask = threads.map(lambda seed: triton.infer(MODEL, question(seed), request_id=str(seed)), range(CALLS))
        for seed, result in enumerate(ask):
            assert_right(result, seed)


def test_asynchronous_calls_are_answered(triton: Any) -> None:
    """async_infer calls back with each answer, and with each refusal."""
    come: SimpleQueue[tuple[int, Any, Any]] = SimpleQueue()
    for seed in range(CALLS):
        name = MODEL if seed % 4 else "resnet"
        triton.async_infer(name, question(seed), heard(come, seed), request_id=str(seed), client_timeout=SECONDS)
    for seed, result, error in (come.get(timeout=SECONDS) for _ in range(CALLS)):
        if seed % 4:
            assert error is None
            assert_right(result, seed)
        else:
            assert error.status() == "StatusCode.NOT_FOUND"


def heard(come: SimpleQueue[tuple[int, Any, Any]], seed: int) -> Callable[[Any, Any], None]:
    return lambda result, error: come.put((seed, result, error))


def test_the_client_for_asyncio_is_answered(server: ServerProcess) -> None:
    """tritonclient.grpc.aio asks the same and hears the same."""

    async def ask() -> list[Any]:
        async with AsyncClient(server.address) as client:
            assert await client.is_model_ready(MODEL)
            calls = (client.infer(MODEL, question(seed), request_id=str(seed)) for seed in range(CALLS))
            return await asyncio.gather(*calls)

    for seed, result in enumerate(asyncio.run(ask())):
        assert_right(result, seed)


@pytest.fixture
def stream(server: ServerProcess) -> Iterator[tuple[Any, "SimpleQueue[tuple[Any, Any]]"]]:
    """A client whose stream is open, and what came back on it."""
    come: SimpleQueue[tuple[Any, Any]] = SimpleQueue()
    with InferenceServerClient(server.address) as client:
        client.start_stream(lambda result, error: come.put((result, error)))
        yield client, come
        client.stop_stream()


def test_a_stream_answers_in_order(stream: tuple[Any, "SimpleQueue[tuple[Any, Any]]"]) -> None:
    """Each request has one answer, which is its last; a refusal takes its place and ends nothing."""
    client, come = stream
    for seed in range(CALLS):
        client.async_stream_infer(
            MODEL if seed % 4 else "resnet",
            question(seed),
            request_id=str(seed),
            enable_empty_final_response=bool(seed % 2),
        )
    for seed in range(CALLS):
        result, error = come.get(timeout=SECONDS)
        if seed % 4:
            assert error is None
            assert_right(result, seed)
            assert result.get_response().parameters["triton_final_response"].bool_param
        else:
            assert "no model 'resnet'" in error.message()


def test_large_tensors_go_and_come(triton: Any) -> None:
    """16 MB each of queries, keys and values, and of the answer, with the present key beside it."""
    q, k, v = (random(seed, 1, 64, 64, 1024) for seed in range(3))
    assert q.nbytes == 2**24
    result = infer(triton, {"Q": q, "K": k, "V": v}, ["Y", "present_key"])
    np.testing.assert_allclose(result.as_numpy("Y"), formula(q, k, v), atol=1e-4)
    np.testing.assert_array_equal(result.as_numpy("present_key"), k)


def test_large_tensors_go_through_a_stream(stream: tuple[Any, "SimpleQueue[tuple[Any, Any]]"]) -> None:
    """16 MB there and back on a stream."""
    client, come = stream
    q = random(0, 1, 64, 64, 1024)
    client.async_stream_infer(MODEL, inputs({"Q": q}), request_id="large")
    result, error = come.get(timeout=SECONDS)
    assert error is None
    np.testing.assert_allclose(result.as_numpy("Y"), formula(q, q, q), atol=1e-4)
