"""Merge over a socket: the numbers of the core, in the form of the question; what cannot be merged is refused."""

import time
import tracemalloc
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from refusals import DEADLINE, Refusal, assert_invalid, refusal_of
from roundtrip.test_clients import awaited, blocking

import qkv
from qkv import codec
from qkv.v1.attention_pb2 import MergeRequest, MergeResponse
from qkv.wire import Received
from qkv_server import core
from qkv_server.service.errors import ServiceError
from qkv_server.service.limits import Limits
from qkv_server.service.merge import merge
from qkv_server.service.workers import Turn

Array = npt.NDArray[Any]

INF, NAN = float("inf"), float("nan")
SHAPES: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {  # of outputs and log-sum-exps
    "rank 2": ((3, 4), (3,)),
    "rank 2 with heads": ((3, 4), (2, 3)),
    "rank 3": ((2, 3, 4), (2, 1, 3)),
    "rank 3 with heads": ((2, 3, 4), (2, 2, 3)),
    "rank 4": ((2, 5, 3, 4), (2, 5, 3)),
}


def normal(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng((seed, *shape)).standard_normal(shape)


def parts_of(name: str, dtype: Any = np.float64) -> list[tuple[Array, Array]]:
    """Three parts, the second of which sees nothing in its first row."""
    output, logs = SHAPES[name]
    parts = [(normal(*output, seed=seed).astype(dtype), normal(*logs, seed=seed)) for seed in range(3)]
    parts[1][0][..., :1, :], parts[1][1][..., :1] = NAN, -INF
    return parts


def merged(parts: list[tuple[Array, Array]], **options: Any) -> core.PartialResult:
    return core.merge([core.PartialResult(output=output, log_sum_exp=logs) for output, logs in parts], **options)


def question(*parts: tuple[Array, Array]) -> MergeRequest:
    request = MergeRequest()
    for output, logs in parts:
        part = request.parts.add()
        part.output.tensor.CopyFrom(codec.to_tensor(output))
        part.log_sum_exp.tensor.CopyFrom(codec.to_tensor(logs))
    return request


def assert_same_bits(found: Any, expected: core.PartialResult) -> None:
    for name in ("output", "log_sum_exp"):
        array, wanted = getattr(found, name), getattr(expected, name)
        assert (array.dtype, array.shape) == (wanted.dtype, wanted.shape)
        assert array.tobytes() == wanted.tobytes()


@pytest.mark.parametrize("run", [blocking, awaited], ids=lambda run: run.__name__)
@pytest.mark.parametrize("dtype", [np.float64, np.float16])
@pytest.mark.parametrize("name", SHAPES)
def test_numbers_are_those_of_the_core(name: str, dtype: Any, run: Callable[..., Any], client: qkv.Client) -> None:
    """Parts of every rank are merged as the core merges them in this process, by both clients."""
    parts = parts_of(name, dtype)
    result = run(lambda it: it.merge(parts), client.target)
    assert isinstance(result, qkv.MergeResult)
    assert result.semantics_version == 1
    assert_same_bits(result, merged(parts))


def test_options_reach_the_core(client: qkv.Client) -> None:
    """The axis order and the base of the logarithms are those that were asked for."""
    parts = [(output.swapaxes(1, 2), logs) for output, logs in parts_of("rank 4")]
    result = client.merge(parts, axis_order="sequence_first", log_base="two")
    expected = merged(parts, axis_order=core.AxisOrder.SEQUENCE_FIRST, log_base=core.LogBase.TWO)
    assert_same_bits(result, expected)
    assert result.output.tobytes() != merged(parts, axis_order=core.AxisOrder.SEQUENCE_FIRST).output.tobytes()


@pytest.mark.parametrize("base", ["e", "two"])
@pytest.mark.parametrize("splits", [(0, 9), (0, 4, 9), (0, 1, 2, 9)], ids=str)
def test_split_keys_are_merged_into_the_whole(splits: tuple[int, ...], base: Any, client: qkv.Client) -> None:
    """Answers over some of the keys each, as they came, merge into the answer over all of them; so does a merger."""
    query, key, value = normal(2, 4, 5, 8), normal(2, 2, 9, 8), normal(2, 2, 9, 6)
    ask: dict[str, Any] = {"outputs": ["log_sum_exp"], "log_base": base}
    parts = [client.attention(query, key[:, :, i:j], value[:, :, i:j], **ask) for i, j in pairwise(splits)]
    whole = client.attention(query, key, value, **ask)
    assert whole.log_sum_exp is not None
    for result in (client.merge(parts, log_base=base), qkv.merge(parts, log_base=base)):
        again = client.merge([result], log_base=base)
        for found in (result, again):
            np.testing.assert_allclose(found.output, whole.output, rtol=1e-13, atol=1e-15)
            np.testing.assert_allclose(found.log_sum_exp, whole.log_sum_exp, rtol=1e-13)


def test_matrices_are_answered_with_matrices(stub: Any) -> None:
    """A log-sum-exp that is a matrix of one column is that of each row, and comes back as one."""
    parts = parts_of("rank 2")
    request = MergeRequest()
    for output, logs in parts:
        part = request.parts.add()
        part.output.matrix.CopyFrom(codec.to_matrix(output))
        part.log_sum_exp.matrix.CopyFrom(codec.to_matrix(logs[:, None]))
    response = stub.Merge(request, timeout=DEADLINE)
    assert isinstance(response, MergeResponse)
    expected = merged(parts)
    assert response.output.WhichOneof("source") == response.log_sum_exp.WhichOneof("source") == "matrix"
    np.testing.assert_array_equal(codec.from_operand(response.output, "output"), expected.output)
    np.testing.assert_array_equal(codec.from_operand(response.log_sum_exp, ""), expected.log_sum_exp[:, None])


def test_a_column_of_heads_is_one_row(stub: Any) -> None:
    """For an output of one row, a matrix of one column is a log-sum-exp for each head, as Attend answers it."""
    output, logs = normal(1, 6), normal(3, 1)
    request = MergeRequest()
    part = request.parts.add()
    part.output.matrix.CopyFrom(codec.to_matrix(output))
    part.log_sum_exp.matrix.CopyFrom(codec.to_matrix(logs))
    response = stub.Merge(request, timeout=DEADLINE)
    np.testing.assert_array_equal(codec.from_operand(response.log_sum_exp, ""), logs)


def two_parts() -> MergeRequest:
    return question((normal(3, 4), normal(3)), (normal(3, 4), normal(3)))


def malformed() -> Iterator[tuple[str, MergeRequest, tuple[str, ...]]]:
    """What is wrong, the request, and the fields that must be named."""
    yield "no part", MergeRequest(), ("parts",)
    request = two_parts()
    request.parts[1].Clear()
    yield "an empty part", request, ("parts[1].output", "parts[1].log_sum_exp")
    request = two_parts()
    request.parts[0].log_sum_exp.ClearField("source")
    yield "no source", request, ("parts[0].log_sum_exp",)
    request = two_parts()
    request.parts[1].output.tensor.data += b"\0"
    request.parts[0].log_sum_exp.tensor.shape[0] = -1
    yield "wrong bytes", request, ("parts[1].output.tensor.data", "parts[0].log_sum_exp.tensor.shape")
    for version in (2, 2**32 - 1):
        request = two_parts()
        request.semantics_version = version
        yield f"version {version}", request, ("semantics_version",)
    for name in ("axis_order", "log_base"):
        for number in (99, -1):
            request = two_parts()
            setattr(request, name, number)
            yield f"{name} {number}", request, (name,)
    yield "output of integers", question((np.ones((3, 4), np.int64), normal(3))), ("parts[0].output",)
    yield "logarithms of integers", question((normal(3, 4), np.ones(3, np.bool_))), ("parts[0].log_sum_exp",)
    for shape in ((3,), (1, 1, 1, 3, 4)):
        yield f"output {shape}", question((normal(*shape), normal(3))), ("parts[0].output",)
    for output, logs in (
        ((3, 4), (4,)),
        ((3, 4), (3, 1)),
        ((3, 4), (3, 3)),
        ((3, 4), (0, 3)),
        ((2, 3, 4), (2, 3)),
        ((2, 3, 4), (2, 3, 2)),
        ((2, 5, 3, 4), (2, 3, 5)),
        ((2, 5, 3, 4), (2, 5, 3, 1)),
    ):
        yield f"{output} with {logs}", question((normal(*output), normal(*logs))), ("parts[0].log_sum_exp",)
    others = question((normal(3, 4), normal(3)), (normal(3, 5), normal(3)), (normal(3, 4), normal(2)))
    yield "parts of other shapes", others, ("parts[1].output", "parts[2].log_sum_exp")


MALFORMED = list(malformed())


def refusal(stub: Any, request: MergeRequest) -> Refusal:
    return refusal_of(lambda: stub.Merge(request, timeout=DEADLINE))


@pytest.mark.parametrize(("request_", "fields"), [case[1:] for case in MALFORMED], ids=[case[0] for case in MALFORMED])
def test_is_refused_by_the_name_of_what_is_wrong(request_: MergeRequest, fields: tuple[str, ...], stub: Any) -> None:
    """INVALID_ARGUMENT, ErrorInfo and a BadRequest that names the wrong fields and no other; the next call works."""
    found = refusal(stub, request_)
    assert_invalid(found)
    assert sorted(found.fields) == sorted(fields)
    assert stub.Merge(two_parts(), timeout=DEADLINE).HasField("output")


def test_bytes_that_are_no_request_are_refused(channel: Any) -> None:
    """Bytes that protobuf cannot read are INVALID_ARGUMENT that names the message which they are not."""
    call = channel.unary_unary("/qkv.v1.AttentionService/Merge")
    found = refusal_of(lambda: call(b"\xff", timeout=DEADLINE))
    assert_invalid(found)
    assert found.violations == (("request", "these 1 bytes are no qkv.v1.MergeRequest message"),)


@pytest.mark.parametrize("limits", [Limits(message_bytes=100), Limits(working_bytes=100)], ids=str)
def test_what_would_take_too_much_is_refused_for_its_size(limits: Limits) -> None:
    """A server that sends or uses little says how much merging would take."""
    with pytest.raises(ServiceError) as refused:
        merge(Received(two_parts()), limits, time.monotonic()).answer(Turn())
    assert refused.value.reason == "REQUEST_TOO_LARGE"
    assert int(refused.value.metadata["neededBytes"]) > int(refused.value.metadata["limitBytes"]) == 100


def test_many_wrong_parts_are_refused_for_the_first(stub: Any) -> None:
    """A hundred thousand parts of nothing are refused in memory of the order of the request."""
    request = MergeRequest()
    for _ in range(100_000):
        request.parts.add()
    tracemalloc.start()
    try:
        with pytest.raises(ServiceError):
            merge(Received(request), Limits(), time.monotonic()).answer(Turn())
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 200_000
    found = refusal(stub, request)
    assert_invalid(found)
    assert found.fields[:2] == ("parts[0].output", "parts[0].log_sum_exp")
