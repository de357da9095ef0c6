"""Differentiate over a socket: the numbers of the core, in the form of the operands; what is wrong is refused."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from refusals import DEADLINE, assert_invalid, assert_too_large, refusal_of
from roundtrip.malformed import base
from roundtrip.malformed_options import asked
from roundtrip.malformed_positions import positional, scaled
from roundtrip.test_clients import awaited, blocking

import qkv
from qkv import codec
from qkv.v1.attention_pb2 import AttentionRequest, DifferentiateRequest, DifferentiateResponse
from qkv.wire import Received
from qkv_server import core
from qkv_server.service.differentiate import differentiate
from qkv_server.service.errors import ServiceError
from qkv_server.service.limits import Limits
from qkv_server.service.workers import Turn

Array = npt.NDArray[Any]


def normal(*shape: int, dtype: Any = np.float64, seed: int = 0) -> Array:
    return np.random.default_rng((seed, *shape)).standard_normal(shape).astype(dtype)


QUERY, KEY, VALUE = normal(1, 4, 5, 8), normal(1, 2, 7, 8), normal(1, 2, 7, 6)
D_OUTPUT, MASK, SINKS = normal(1, 4, 5, 6), normal(5, 7), normal(4)


def assert_same_bits(result: qkv.GradientResult, expected: core.Gradients) -> None:
    for name in ("d_query", "d_key", "d_value", "d_mask", "d_sinks"):
        array, wanted = getattr(result, name), getattr(expected, name)
        assert (array is None) == (wanted is None), name
        if wanted is not None:
            assert (array.dtype, array.shape) == (wanted.dtype, wanted.shape), name
            assert array.tobytes() == wanted.tobytes(), name


@pytest.mark.parametrize("run", [blocking, awaited], ids=lambda run: run.__name__)
def test_numbers_are_those_of_the_core(run: Callable[..., Any], client: qkv.Client) -> None:
    """Every gradient is the one that the core computes in this process, by both clients."""
    result = run(
        lambda it: it.differentiate(D_OUTPUT, QUERY, KEY, VALUE, mask=MASK, sinks=SINKS, softcap=3.0), client.target
    )
    problem = core.Problem(
        query=QUERY,
        key=KEY,
        value=VALUE,
        visibility=core.Visibility(mask=MASK),
        scoring=core.Scoring(sinks=SINKS, softcap=3.0),
    )
    assert isinstance(result, qkv.GradientResult)
    assert set(result.arrays()) == {"d_query", "d_key", "d_value", "d_mask", "d_sinks"}
    assert_same_bits(result, core.differentiate(problem, D_OUTPUT))
    assert result.semantics_version == 1
    assert result.report.path == core.differentiate(problem, D_OUTPUT).path.value


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_gradients_have_the_types_of_their_operands(dtype: Any, client: qkv.Client) -> None:
    """What each gradient is typed and shaped as is its operand, whatever the others are."""
    query, value = QUERY.astype(dtype), VALUE.astype(np.float32)
    result = client.differentiate(D_OUTPUT, query, KEY, value)
    shapes = {name: (array.dtype, array.shape) for name, array in result.arrays().items()}
    assert shapes == {
        "d_query": (query.dtype, query.shape),
        "d_key": (KEY.dtype, KEY.shape),
        "d_value": (value.dtype, value.shape),
    }


def test_what_was_not_given_has_no_gradient(client: qkv.Client) -> None:
    """Self-attention has the gradient of its query alone, through key and value too; so has a boolean mask none."""
    result = client.differentiate(normal(3, 4), normal(3, 4, seed=1), mask=np.ones((3, 3), np.bool_))
    assert set(result.arrays()) == {"d_query"}


def test_projections_are_part_of_the_call(client: qkv.Client) -> None:
    """Gradients go through projections, to what was projected."""
    query, weight, bias = normal(2, 3, 5), normal(8, 5), normal(8, seed=1)
    d_output = normal(2, 3, 5, seed=2)
    options: dict[str, Any] = {"query_weight": weight, "query_bias": bias, "key_weight": weight}
    result = client.differentiate(d_output, query, heads=2, value_weight=weight, output_weight=normal(5, 8), **options)
    problem = core.Problem(
        query=query,
        multi_head=core.MultiHead(heads=2, value_weight=weight, output_weight=normal(5, 8), **options),
    )
    assert_same_bits(result, core.differentiate(problem, d_output))


def test_each_gradient_has_the_form_of_its_operand(stub: Any) -> None:
    """A matrix has a matrix for its gradient, a tensor a tensor."""
    request = DifferentiateRequest()
    request.attention.query.matrix.CopyFrom(codec.to_matrix(normal(3, 4)))
    request.attention.key.tensor.CopyFrom(codec.to_tensor(normal(5, 4, dtype=np.float32)))
    request.attention.visibility.mask.matrix.CopyFrom(codec.to_matrix(normal(3, 5)))
    request.attention.scoring.sinks.tensor.CopyFrom(codec.to_tensor(normal(1)))
    request.d_output.matrix.CopyFrom(codec.to_matrix(normal(3, 4, seed=1)))
    response = stub.Differentiate(request, timeout=DEADLINE)
    assert isinstance(response, DifferentiateResponse)
    forms = {field.name: value.WhichOneof("source") for field, value in response.ListFields() if "d_" in field.name}
    assert forms == {"d_query": "matrix", "d_key": "tensor", "d_mask": "matrix", "d_sinks": "tensor"}
    assert codec.from_operand(response.d_key, "d_key").dtype == np.float32


def test_outputs_of_the_call_are_not_looked_at(stub: Any) -> None:
    """Quantities that the call would be asked for change nothing, not even ones that there are not."""
    request = valid()
    expected = stub.Differentiate(request, timeout=DEADLINE).d_query
    request.attention.outputs.extend((1, 99))  # type: ignore[arg-type]
    assert stub.Differentiate(request, timeout=DEADLINE).d_query == expected


def valid(call: AttentionRequest | None = None, *shape: int) -> DifferentiateRequest:
    """A valid request for the gradients of a call whose output has a shape."""
    request = DifferentiateRequest(attention=call if call is not None else base())
    request.d_output.tensor.CopyFrom(codec.to_tensor(normal(*(shape or (2, 3, 5)))))
    return request


def malformed() -> Iterator[tuple[str, DifferentiateRequest, tuple[str, ...]]]:
    """What is wrong, the request, and the fields that must be named."""
    yield "nothing said", DifferentiateRequest(), ("attention.query", "d_output")
    request = valid()
    request.ClearField("d_output")
    yield "no gradient", request, ("d_output",)
    request = valid()
    request.d_output.ClearField("source")
    yield "no source", request, ("d_output",)
    request = valid()
    request.d_output.tensor.data = b"\0"
    yield "wrong bytes", request, ("d_output.tensor.data",)
    request = valid()
    request.d_output.tensor.CopyFrom(codec.to_tensor(np.ones((2, 3, 5), np.int64)))
    yield "integers", request, ("d_output",)
    for shape in ((3, 5), (2, 3, 4), (2, 5, 3), (1, 3, 5), (2, 1, 5), (2, 3, 5, 1), (2, 3, 12)):
        yield f"a gradient {shape}", valid(None, *shape), ("d_output",)
    yield "a gradient of rank 4 with its axes swapped", valid(positional(), 2, 3, 4, 3), ("d_output",)
    request = valid()
    request.attention.semantics_version = 2
    yield "a version", request, ("attention.semantics_version",)
    request = valid()
    request.attention.visibility.window_left = -1
    request.attention.scoring.scale = float("nan")
    request.attention.key.tensor.data = b"\0"
    request.d_output.tensor.shape[0] = -1
    everywhere = ("attention.visibility.window_left", "attention.scoring.scale", "attention.key.tensor.data")
    yield "a call wrong in several places", request, (*everywhere, "d_output.tensor.shape")
    call = scaled("yarn")
    call.rotary.yarn.factor = 0.0
    yield "a scaling", valid(call, 2, 4, 3, 3), ("attention.rotary.yarn.factor",)


MALFORMED = list(malformed())


@pytest.mark.parametrize(("request_", "fields"), [case[1:] for case in MALFORMED], ids=[case[0] for case in MALFORMED])
def test_is_refused_by_the_name_of_what_is_wrong(
    request_: DifferentiateRequest, fields: tuple[str, ...], stub: Any
) -> None:
    """INVALID_ARGUMENT, ErrorInfo and a BadRequest that names the wrong fields and no other; the next call works."""
    found = refusal_of(lambda: stub.Differentiate(request_, timeout=DEADLINE))
    assert_invalid(found)
    assert sorted(found.fields) == sorted(fields)
    assert stub.Differentiate(valid(), timeout=DEADLINE).HasField("d_query")


@pytest.mark.parametrize("start", [base, positional], ids=lambda start: start.__name__)
def test_what_is_mutated_was_valid(start: Callable[[], AttentionRequest], stub: Any) -> None:
    """The requests that the tests break are answered as they stand."""
    shape = (2, 3, 5) if start is base else (2, 4, 3, 3)
    assert stub.Differentiate(valid(start(), *shape), timeout=DEADLINE).HasField("d_query")


def test_many_rows_in_no_batch_row_are_refused_for_their_size(stub: Any) -> None:
    """10¹² queries that take no bytes are refused before anything is computed."""
    request = valid(asked((0, 10**12, 4), (0, 3, 4), (0, 3, 4)), 0, 10**12, 4)
    assert_too_large(refusal_of(lambda: stub.Differentiate(request, timeout=DEADLINE)))


def test_a_call_that_nobody_waits_for_is_not_computed() -> None:
    """Cancelled before it begins, no gradient is computed."""
    turn = Turn()
    turn.cancellation.cancel()
    with pytest.raises(core.CancelledError):
        differentiate(Received(valid()), Limits(), time.monotonic()).answer(turn)


@pytest.mark.parametrize("limits", [Limits(message_bytes=100), Limits(working_bytes=100)], ids=str)
def test_what_would_take_too_much_is_refused_for_its_size(limits: Limits) -> None:
    """A server that sends or uses little says how much the call would take."""
    with pytest.raises(ServiceError) as refused:
        differentiate(Received(valid()), limits, time.monotonic()).answer(Turn())
    assert refused.value.reason == "REQUEST_TOO_LARGE"
    assert int(refused.value.metadata["neededBytes"]) > int(refused.value.metadata["limitBytes"]) == 100
