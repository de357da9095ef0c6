"""Bytes that are no request, or a valid one with some of them changed, over a socket."""

from collections.abc import Callable, Iterator
from functools import partial

import grpc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from refusals import ATTEND, DEADLINE, assert_invalid, outcome, refusal_of, valid_request
from roundtrip.malformed import base, matrices
from roundtrip.malformed_options import rank_4
from roundtrip.malformed_positions import SCALINGS, packed, positional, scaled

import qkv
from qkv.v1.attention_pb2 import AttentionResponse

SendBytes = Callable[[bytes], bytes]

STARTS = (base(), matrices(), rank_4(), valid_request(), positional(), packed(), *map(scaled, SCALINGS))
VALID = tuple(request.SerializeToString() for request in STARTS)

GARBAGE = {
    "a stray tag": b"\xff",
    "text": b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "json": b'{"query": {"matrix": {"rows": 1}}}',
    "an endless varint": b"\x08" + b"\xff" * 20,
    "a length beyond the end": b"\x0a\xff\xff\xff\xff\x0f",
    "field number 0": b"\x00\x00",
    "an unclosed group": b"\x0b",
    "a wrong wire type nested deep": b"\x0a\x02" * 200,
    "a cut request": VALID[0][:-1],
    "a request without its first byte": VALID[0][1:],
    "a megabyte of noise": bytes(range(255, 0, -1)) * 4096,
}


@pytest.fixture(scope="module")
def send(client: qkv.Client) -> Iterator[SendBytes]:
    with grpc.insecure_channel(client.target) as channel:
        call = channel.unary_unary(ATTEND, request_serializer=bytes, response_deserializer=bytes)
        yield partial(call, timeout=DEADLINE)


def assert_answers(send: SendBytes) -> None:
    response = AttentionResponse.FromString(send(valid_request().SerializeToString()))
    assert response.output.matrix.values == [0.5]


@pytest.mark.parametrize("payload", GARBAGE.values(), ids=GARBAGE.keys())
def test_bytes_that_are_no_request_are_refused(payload: bytes, send: SendBytes) -> None:
    """Bytes that protobuf cannot read are INVALID_ARGUMENT, with `request` as the wrong field; the next call works."""
    refusal = refusal_of(lambda: send(payload))
    assert_invalid(refusal)
    assert refusal.fields == ("request",)
    assert_answers(send)


def test_no_bytes_are_a_request_without_a_query(send: SendBytes) -> None:
    """Nothing at all is a request whose query is missing."""
    refusal = refusal_of(lambda: send(b""))
    assert_invalid(refusal)
    assert refusal.fields == ("query",)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A valid request with some bytes flipped, put in, taken out, repeated, or its end cut off."""
    payload = bytearray(draw(st.sampled_from(VALID)))
    for _ in range(draw(st.integers(1, 4))):
        position = draw(st.integers(0, len(payload)))
        length = draw(st.integers(1, 8))
        match draw(st.sampled_from(("overwrite", "insert", "remove", "repeat", "cut"))):
            case "overwrite":
                payload[position : position + length] = draw(st.binary(min_size=length, max_size=length))
            case "insert":
                payload[position:position] = draw(st.binary(min_size=length, max_size=length))
            case "remove":
                del payload[position : position + length]
            case "repeat":
                payload[position:position] = payload[position : position + length]
            case "cut" if position > len(payload) // 2:
                del payload[position:]
    return bytes(payload)


CODES = (grpc.StatusCode.OK, grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.RESOURCE_EXHAUSTED)


@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(payload=damaged())
def test_damaged_requests_are_answered_or_refused(payload: bytes, send: SendBytes) -> None:
    """Whatever happens to the bytes of a request, it is answered, or refused with complete details."""
    assert outcome(lambda: send(payload)) in CODES


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(payload=st.binary(max_size=200))
def test_noise_is_answered_or_refused(payload: bytes, send: SendBytes) -> None:
    """Bytes of no origin are refused with complete details, or by chance a question."""
    assert outcome(lambda: send(payload)) in CODES


def test_the_server_outlives_the_damage(send: SendBytes) -> None:
    """After all of that the server answers a valid call."""
    assert_answers(send)
