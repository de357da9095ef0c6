"""Calls that are larger than the server admits are refused before they are computed, and say what they would take."""

from collections.abc import Iterator

import grpc
import numpy as np
import pytest
from serving import ServerProcess

import qkv

MESSAGE_BYTES = 100_000
WORKING_BYTES = 1_000_000


@pytest.fixture(scope="module")
def limited() -> Iterator[qkv.Client]:
    """A client of a server with small limits."""
    limits = ["--max-message-bytes", str(MESSAGE_BYTES), "--max-working-bytes", str(WORKING_BYTES)]
    with ServerProcess(limits) as server, qkv.Client(server.address) as client:
        yield client


@pytest.fixture(autouse=True)
def unharmed(limited: qkv.Client) -> Iterator[None]:
    """After each refusal the server answers as before."""
    yield
    assert limited.attention([[1.0, 2.0]]).output.tolist() == [[1.0, 2.0]]


def test_an_answer_that_is_too_large(limited: qkv.Client) -> None:
    """What the answer would take, and what is admitted, are in the metadata; here 120 × 120 float64 twice, and 120."""
    with pytest.raises(qkv.TooLargeError) as refused:
        limited.attention(np.zeros((120, 1)), outputs=["weights", "scores"])
    assert refused.value.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert refused.value.reason == "REQUEST_TOO_LARGE"
    assert refused.value.metadata == {
        "neededBytes": str((2 * 120 * 120 + 120) * 8),
        "limitBytes": str(MESSAGE_BYTES),
    }


def test_an_answer_as_large_as_the_limit(limited: qkv.Client) -> None:
    """An answer of exactly the limit is given: 11 500 float64 of weights, 500 of log-sum-exp, 500 of output."""
    answer = limited.attention(np.zeros((500, 1)), np.zeros((23, 1)), outputs=["weights", "log_sum_exp"])
    assert sum(array.nbytes for array in answer.arrays().values()) == MESSAGE_BYTES


def test_arithmetic_that_takes_too_much_memory(limited: qkv.Client) -> None:
    """A small question with a small answer is refused for the scores between them, on the path that holds them all."""
    assert limited.attention(np.zeros((400, 1))).report.path == "tiled"
    with pytest.raises(qkv.TooLargeError) as refused:
        limited.attention(np.zeros((400, 1)), path="reference")
    assert refused.value.reason == "REQUEST_TOO_LARGE"
    assert refused.value.metadata["limitBytes"] == str(WORKING_BYTES)
    assert int(refused.value.metadata["neededBytes"]) >= 400 * 400 * 8


def test_a_request_that_is_too_large(limited: qkv.Client) -> None:
    """A request over the message limit is refused unread."""
    with pytest.raises(qkv.TooLargeError) as refused:
        limited.attention(np.zeros((1, MESSAGE_BYTES // 8)))
    assert refused.value.code is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_sizes_that_no_machine_has(limited: qkv.Client) -> None:
    """Sizes whose product is beyond 64 bits are refused as too large, not taken for small ones."""
    nothing = np.zeros((0, 2**25, 2**25, 1))
    with pytest.raises(qkv.TooLargeError) as refused:
        limited.attention(nothing, outputs=["weights"])
    assert int(refused.value.metadata["neededBytes"]) > 2**64


def test_an_answer_of_many_megabytes_is_given(client: qkv.Client) -> None:
    """With the limits as they come, gRPC's own of 4 MiB is none: 18 MB go there, 50 MB come back."""
    query = np.random.default_rng(0).standard_normal((1500, 1500))
    answer = client.attention(query, scale=0, outputs=["weights", "scores"])
    assert sum(array.nbytes for array in answer.arrays().values()) > 50_000_000
    np.testing.assert_allclose(answer.output, np.broadcast_to(query.mean(axis=0), query.shape), atol=1e-12)
