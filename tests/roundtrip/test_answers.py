"""What answers look like over a socket: types, shapes, and the numbers of the core to the last bit."""

from typing import Any, get_args

import ml_dtypes
import numpy as np
import numpy.typing as npt
import pytest
from refusals import Attend

import qkv
from qkv import codec
from qkv._options import QuantityName
from qkv.v1.attention_pb2 import AttentionRequest, Quantity
from qkv_server import core

Array = npt.NDArray[Any]

FLOATING = [np.dtype(name) for name in (np.float64, np.float32, np.float16, ml_dtypes.bfloat16)]
QUANTITIES: tuple[QuantityName, ...] = get_args(QuantityName)


def normal(*shape: int, dtype: Any = np.float64, seed: int = 0) -> Array:
    return np.random.default_rng((seed, *shape)).standard_normal(shape).astype(dtype)


def bits_of(array: Array) -> bytes:
    return array.tobytes()


@pytest.mark.parametrize("dtype", FLOATING, ids=lambda dtype: dtype.name)
def test_the_type_of_the_query_is_kept(dtype: np.dtype[Any], client: qkv.Client) -> None:
    """The output and every quantity have the query's type; log-sum-exp has the softmax's."""
    result = client.attention(normal(2, 3, 4, 8, dtype=dtype), outputs=QUANTITIES)
    softmax = np.float64 if dtype == np.float64 else np.float32
    for name, array in result.arrays().items():
        assert array.dtype == (softmax if name == "log_sum_exp" else dtype), name


@pytest.mark.parametrize("dtype", FLOATING, ids=lambda dtype: dtype.name)
def test_log_sum_exp_has_the_type_that_was_asked_for(dtype: np.dtype[Any], client: qkv.Client) -> None:
    """A softmax precision that is named is the type of log-sum-exp and of nothing else."""
    result = client.attention(normal(3, 4, dtype=np.float32), softmax_precision=dtype, outputs=QUANTITIES)
    types = {name: array.dtype for name, array in result.arrays().items()}
    assert types.pop("log_sum_exp") == dtype
    assert set(types.values()) == {np.dtype(np.float32)}


def test_operands_of_different_types_are_answered_in_the_type_of_the_query(client: qkv.Client) -> None:
    """Whatever key and value are, the answer has the query's type, computed in the widest."""
    query, key, value = normal(3, 4, dtype=np.float16), normal(5, 4), normal(5, 2, dtype=np.float32)
    result = client.attention(query, key, value, outputs=["present_key", "log_sum_exp"])
    assert result.output.dtype == np.float16
    assert result.present_key is not None
    assert result.present_key.dtype == np.float16
    assert result.log_sum_exp is not None
    assert result.log_sum_exp.dtype == np.float64


@pytest.mark.parametrize("asked", [(), *((name,) for name in QUANTITIES), QUANTITIES, ("weights", "weights")], ids=str)
def test_quantities_are_there_exactly_when_asked_for(asked: tuple[QuantityName, ...], client: qkv.Client) -> None:
    """The answer carries the output and what was asked for, and nothing else."""
    result = client.attention(normal(3, 4), outputs=asked)
    assert result.arrays().keys() == {"output", *asked}


def shapes(
    *, batch: int, heads: int, kv_heads: int, queries: int, keys: int, size: int, value_size: int
) -> dict[str, tuple[int, ...]]:
    """The shapes of the quantities as the contract's comments say: (B, Hq, L, T) and so on."""
    pairs = dict.fromkeys(("scores", "capped_scores", "masked_scores", "weights"), (batch, heads, queries, keys))
    return {
        **pairs,
        "averaged_weights": (batch, queries, keys),
        "log_sum_exp": (batch, heads, queries),
        "present_key": (batch, kv_heads, keys, size),
        "present_value": (batch, kv_heads, keys, value_size),
    }


FULL = shapes(batch=2, heads=4, kv_heads=2, queries=3, keys=5, size=8, value_size=6)
ONE_HEAD = shapes(batch=2, heads=1, kv_heads=1, queries=3, keys=5, size=8, value_size=6)
UNBATCHED = {name: shape[1:] for name, shape in FULL.items()}
SHAPES: dict[str, tuple[tuple[Array, Array, Array], dict[str, Any], tuple[int, ...], dict[str, tuple[int, ...]]]] = {
    "rank 2": (
        (normal(3, 8), normal(5, 8), normal(5, 6)),
        {},
        (3, 6),
        {name: shape[1 if name == "averaged_weights" else 2 :] for name, shape in ONE_HEAD.items()},
    ),
    "rank 2 with heads": (
        (normal(3, 32), normal(5, 16), normal(5, 12)),
        {"heads": 4, "kv_heads": 2},
        (3, 24),
        UNBATCHED,
    ),
    "rank 3": ((normal(2, 3, 8), normal(2, 5, 8), normal(2, 5, 6)), {}, (2, 3, 6), ONE_HEAD),
    "rank 3 with heads": (
        (normal(2, 3, 32), normal(2, 5, 16), normal(2, 5, 12)),
        {"heads": 4, "kv_heads": 2},
        (2, 3, 24),
        FULL,
    ),
    "rank 4": ((normal(2, 4, 3, 8), normal(2, 2, 5, 8), normal(2, 2, 5, 6)), {}, (2, 4, 3, 6), FULL),
    "rank 4, sequence first": (
        (normal(2, 3, 4, 8), normal(2, 5, 2, 8), normal(2, 5, 2, 6)),
        {"axis_order": "sequence_first"},
        (2, 3, 4, 6),
        FULL,
    ),
}


@pytest.mark.parametrize("name", SHAPES)
def test_shapes_are_those_of_the_contract(name: str, client: qkv.Client) -> None:
    """Output and quantities have the shapes that attention.proto states for the rank and axis order of the query."""
    arrays, options, output, quantities = SHAPES[name]
    result = client.attention(*arrays, **options, outputs=QUANTITIES)
    assert {name: array.shape for name, array in result.arrays().items()} == {"output": output, **quantities}


def test_log_sum_exp_over_queries_has_one_entry_per_key(client: qkv.Client) -> None:
    """When the softmax is over queries, log-sum-exp is (B, Hq, T)."""
    arrays, _, _, _ = SHAPES["rank 4"]
    result = client.attention(*arrays, softmax_axis="queries", outputs=["log_sum_exp"])
    assert result.log_sum_exp is not None
    assert result.log_sum_exp.shape == (2, 4, 5)


def test_extra_keys_stand_in_scores_and_not_in_the_cache(client: qkv.Client) -> None:
    """The learned key and the zero key are the last two of the weights' keys; the present keys are without them."""
    x = normal(2, 3, 8)
    result = client.multi_head_attention(
        x, heads=2, extra_key=normal(8), extra_value=normal(8), add_zero_attention=True, outputs=QUANTITIES
    )
    found = {name: array.shape for name, array in result.arrays().items()}
    wanted = shapes(batch=2, heads=2, kv_heads=2, queries=3, keys=5, size=4, value_size=4)
    caches = {"present_key": (2, 2, 3, 4), "present_value": (2, 2, 3, 4)}
    assert found == {"output": (2, 3, 8), **wanted, **caches}


@pytest.mark.parametrize("dtype", FLOATING, ids=lambda dtype: dtype.name)
@pytest.mark.parametrize("name", SHAPES)
def test_numbers_are_those_of_the_core(name: str, dtype: np.dtype[Any], client: qkv.Client) -> None:
    """The way through the network changes no bit of what the core computes in this process."""
    arrays, options, _, _ = SHAPES[name]
    query, key, value = (array.astype(dtype) for array in arrays)
    result = client.attention(
        query, key, value, **options, causal=True, alignment="bottom_right", softcap=3.0, scale=0.3, outputs=QUANTITIES
    )
    order = core.AxisOrder.SEQUENCE_FIRST if "axis_order" in options else core.AxisOrder.HEADS_FIRST
    answer = core.attention(
        core.Problem(
            query=query,
            key=key,
            value=value,
            multi_head=core.MultiHead(
                heads=options.get("heads", 0), kv_heads=options.get("kv_heads", 0), axis_order=order
            ),
            visibility=core.Visibility(causal=True, alignment=core.Alignment.BOTTOM_RIGHT),
            scoring=core.Scoring(softcap=3.0, scale=0.3),
            outputs=frozenset(core.Quantity),
        )
    )
    for quantity, array in result.arrays().items():
        expected = getattr(answer, quantity)
        assert (array.dtype, array.shape) == (expected.dtype, expected.shape), quantity
        assert bits_of(array) == bits_of(expected), quantity


@pytest.mark.parametrize("version", [0, 1])
def test_the_version_of_the_semantics_is_stated(version: int, client: qkv.Client) -> None:
    """Asked for the newest or for version 1, the answer says that it was made by version 1."""
    assert client.attention(normal(3, 4), semantics_version=version).semantics_version == 1


def test_the_report_is_filled(client: qkv.Client) -> None:
    """The report names the path and gives times that are not negative and within the call's own."""
    report = client.attention(normal(4, 200, 64)).report
    assert report.path == "batched"
    assert 0 <= report.queue_seconds < 60
    assert 0 < report.compute_seconds < 60


@pytest.mark.parametrize("path", ["reference", "batched", "tiled", "decode"])
def test_a_path_that_is_asked_for_is_taken(path: Any, client: qkv.Client) -> None:
    """A request can say how it is to be computed; the report says that it was."""
    assert client.attention(normal(4, 200, 64), path=path).report.path == path


def test_the_same_question_has_the_same_answer(attend: Attend) -> None:
    """Asked twice, a request is answered with identical bytes but for the report."""
    request = AttentionRequest(outputs=Quantity.keys()[1:])
    request.query.tensor.CopyFrom(codec.to_tensor(normal(2, 4, 65, 32, dtype=np.float32)))
    first, second = attend(request), attend(request)
    assert first.HasField("report")
    first.ClearField("report")
    second.ClearField("report")
    assert first.SerializeToString(deterministic=True) == second.SerializeToString(deterministic=True)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("chunks", [(1,) * 7, (3, 1, 1, 2), (5, 2)], ids=str)
def test_decoding_with_a_cache_is_one_causal_call(chunks: tuple[int, ...], dtype: Any, client: qkv.Client) -> None:
    """Tokens asked for a few at a time, the present keys and values fed back, are answered as all at once."""
    query, key, value = (normal(2, heads, 7, 8, dtype=dtype, seed=heads) for heads in (4, 2, 2))
    whole = client.attention(query, key, value, causal=True, outputs=["present_key", "present_value"])
    past_key: Array | None = None
    past_value: Array | None = None
    outputs, done = [], 0
    for length in chunks:
        now = slice(done, done + length)
        step = client.attention(
            query[:, :, now],
            key[:, :, now],
            value[:, :, now],
            past_key=past_key,
            past_value=past_value,
            causal=True,
            outputs=["present_key", "present_value"],
        )
        past_key, past_value = step.present_key, step.present_value
        outputs.append(step.output)
        done += length
    tolerance = 1e-14 if dtype is np.float64 else 1e-6
    np.testing.assert_allclose(np.concatenate(outputs, axis=2), whole.output, rtol=tolerance, atol=tolerance)
    assert past_key is not None
    assert past_value is not None
    np.testing.assert_array_equal(past_key, key, strict=True)
    np.testing.assert_array_equal(past_value, value, strict=True)
