"""Refusals over HTTP have the code, the message and the details that they have over gRPC."""

import gzip
from collections.abc import Callable
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from refusals import ATTEND, DEADLINE, Attend
from roundtrip.malformed import Malformed
from roundtrip.test_malformed_bytes import GARBAGE
from roundtrip.test_malformed_requests import TABLE
from roundtrip.test_malformed_sizes import INVALID, TOO_LARGE
from serving import ServerProcess
from web.asking import ATTENTION, BINARY, HEALTH, MODELS, Reply, Web, details_of, web_address

from qkv_server.embedded import EmbeddedServer
from qkv_server.operations.settings import Settings
from qkv_server.service.calls import METHODS
from qkv_server.service.errors import OverloadedError

SMALL = 100_000  # bytes
CASES = [*TABLE, *TOO_LARGE, *INVALID]


def over_grpc(call: Callable[[], object]) -> tuple[str, str, list[tuple[str, bytes]]]:
    """The code, the message and the details of a refusal over gRPC."""
    with pytest.raises(grpc.RpcError) as refused:
        call()
    status: Any = rpc_status.from_call(refused.value)  # type: ignore[arg-type]
    details = [(detail.type_url.rpartition("/")[2], detail.value) for detail in status.details]
    return grpc_code(status.code), status.message, details


def grpc_code(number: int) -> str:
    (name,) = [code.name for code in grpc.StatusCode if code.value[0] == number]
    return str(name).lower()


def over_http(reply: Reply) -> tuple[str, str, list[tuple[str, bytes]]]:
    return reply.json["code"], reply.json["message"], details_of(reply)


def without_metadata(details: list[tuple[str, bytes]]) -> list[tuple[str, bytes]]:
    """Details, but for the metadata, a map, whose order in bytes is nobody's."""
    return [detail for detail in details if detail[0] != "google.rpc.ErrorInfo"]


def info_of(details: list[tuple[str, bytes]]) -> Any:
    (info,) = [value for name, value in details if name == "google.rpc.ErrorInfo"]
    return error_details_pb2.ErrorInfo.FromString(info)


def assert_same(reply: Reply, call: Callable[[], object]) -> None:
    code, message, details = over_grpc(call)
    got_code, got_message, got_details = over_http(reply)
    assert (got_code, got_message, without_metadata(got_details)) == (code, message, without_metadata(details))
    assert info_of(got_details) == info_of(details)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_wrong_request_is_refused_in_the_same_words(case: Malformed, web: Web, attend: Attend) -> None:
    """Each of hundreds of wrong requests, in JSON, is refused with the same code, message, reason and violations."""
    assert_same(web.ask("Attend", case.request), lambda: attend(case.request))


@pytest.mark.parametrize("payload", GARBAGE.values(), ids=GARBAGE.keys())
def test_bytes_that_are_no_request(payload: bytes, web: Web, both: ServerProcess) -> None:
    """Bytes that protobuf cannot read are refused in the same words."""
    with grpc.insecure_channel(both.address) as channel:
        call = channel.unary_unary(ATTEND, request_serializer=bytes, response_deserializer=bytes)
        assert_same(web.post(f"{ATTENTION}Attend", payload, BINARY), lambda: call(payload, timeout=DEADLINE))


@pytest.mark.parametrize(
    ("failure", "http_status"), [(MemoryError(), 429), (OverloadedError(3, 0.1), 503), (KeyError("secret"), 500)]
)
def test_failures_of_the_server(failure: Exception, http_status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Too little memory, overload with its delay, and a defect with its number, as over gRPC and no word more."""

    def fail(*_: object) -> Any:
        raise failure

    monkeypatch.setitem(METHODS, "Attend", METHODS["Attend"]._replace(prepare=fail))
    server = EmbeddedServer.start(Settings(addresses=("127.0.0.1:0",), web_address="127.0.0.1:0", workers=1))
    try:
        assert server.web_address is not None
        reply = Web(server.web_address).ask("Attend", {})
        with grpc.insecure_channel(server.address) as channel:
            call = channel.unary_unary(ATTEND, request_serializer=bytes, response_deserializer=bytes)
            code, message, details = over_grpc(lambda: call(b"", timeout=DEADLINE))
    finally:
        server.stop()
    got_code, got_message, got_details = over_http(reply)
    assert (reply.status, got_code) == (http_status, code)
    assert without_metadata(got_details) == without_metadata(details)
    assert info_of(got_details).reason == info_of(details).reason
    if isinstance(failure, KeyError):  # each has an incident of its own
        assert got_message == f"internal error, incident {info_of(got_details).metadata['incident']}"
        assert "secret" not in reply.body.decode()
    else:
        assert got_message == message


def test_details_can_be_read_without_protobuf(web: Web) -> None:
    """Beside its bytes each detail stands in JSON, with the names that protobuf's JSON has."""
    query = {"matrix": {"rows": 4, "columns": 1, "values": [1, 2, 3, 4]}}
    key = {"matrix": {"rows": 3, "columns": 1, "values": [1, 2, 3]}}
    reply = web.ask("Attend", {"query": query, "key": key, "visibility": {"causal": True}})
    info, bad_request = (detail["debug"] for detail in reply.json["details"])
    assert info == {"reason": "INVALID_REQUEST", "domain": "qkv.v1"}
    (violation,) = bad_request["fieldViolations"]
    assert violation["field"] == "visibility.alignment"
    assert "TOP_LEFT" in violation["description"]


def violations_of(reply: Reply) -> dict[str, str]:
    assert (reply.status, reply.json["code"]) == (400, "invalid_argument")
    info, bad_request = reply.json["details"]
    assert info["debug"] == {"reason": "INVALID_REQUEST", "domain": "qkv.v1"}
    return {found["field"]: found["description"] for found in bad_request["debug"]["fieldViolations"]}


def test_unknown_fields_are_named(web: Web) -> None:
    """Fields that there are not are refused, all at once, each by its path, with those that there are."""
    question = {
        "qeury": 1,
        "query": {"matrix": {"rows": 1, "columns": 1, "values": [1], "colour": "red"}},
        "visibility": {"casual": True, "key_lengths": [1]},
    }
    reply = web.ask("Attend", question)
    violations = violations_of(reply)
    assert set(violations) == {"qeury", "query.matrix.colour", "visibility.casual"}
    assert violations["query.matrix.colour"] == "is no field of qkv.v1.Matrix, expected one of rows, columns, values"
    assert "qeury" in reply.json["message"]
    assert set(violations_of(web.ask("Merge", {"parts": [{}, {"outptu": {}}]}))) == {"parts[1].outptu"}


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"", "Expecting value"),
        (b'{"query": ', "Expecting value"),
        (b"\xff\xfe{}", "no JSON"),
        (b"query=1", "Expecting value"),
        (b"[1]", "no JSON object"),
        (b"null", "no JSON object"),
        (b'"query"', "no JSON object"),
        (b"[" * 100_000, "recursion"),
        (b'{"query": {}, "query": {}}', "'query' stands twice"),
        (b'{"query": 1}', "query"),
        (b'{"outputs": ["QUANTITY_WEIGHT"]}', "QUANTITY_WEIGHT"),
        (b'{"outputs": "QUANTITY_WEIGHTS"}', "outputs"),
        (b'{"visibility": {"causal": "yes"}}', "causal"),
        (b'{"visibility": {"keyLengths": [1e30]}}', "keyLengths"),
        (b'{"query": {"matrix": {"values": [NaN]}}}', "NaN"),
        (b'{"query": {"matrix": {"values": [1e999]}}}', "values[0]"),
        (b'{"multiHead": {"heads": ' + b"9" * 5000 + b"}}", "4300 digits"),
    ],
)
def test_malformed_json(body: bytes, told: str, web: Web) -> None:
    """What is no JSON, or not that of a request, is refused as such, and the refusal says where."""
    (description,) = [violations_of(web.post(f"{ATTENTION}Attend", body))["request"]]
    assert told in description


@pytest.mark.parametrize(
    ("body", "violations"),
    [
        (
            b'{"key": {"tensor": {}, "matrix": {}}, "query": {"matrix": {}, "tensor": null}}',
            {"key.matrix": "excluded by key.tensor, expected one of the two"},
        ),
        (b'{"multiHead": {"heads": -1}}', {"multi_head.heads": "is -1, expected from 0 to 4294967295"}),
        (
            b'{"query": {"tensor": {"shape": [1, "9223372036854775808", "many"]}}, "semanticsVersion": 4294967296}',
            {
                "query.tensor.shape[1]": "is 9223372036854775808, expected from "
                "-9223372036854775808 to 9223372036854775807",
                "semantics_version": "is 4294967296, expected from 0 to 4294967295",
            },
        ),
    ],
    ids=["oneof", "negative", "several"],
)
def test_fields_that_exclude_each_other_and_integers_without_room(
    body: bytes, violations: dict[str, str], web: Web
) -> None:
    """Second fields of a choice, and integers that their field cannot hold, are refused by name, all at once."""
    assert violations_of(web.post(f"{ATTENTION}Attend", body)) == violations


@pytest.mark.parametrize(
    ("body", "told"),
    [(b"{}", "no gzip"), (gzip.compress(b"{}")[:-3], "the end is missing"), (gzip.compress(b"{"), "no JSON")],
)
def test_malformed_gzip(body: bytes, told: str, web: Web) -> None:
    """A body that is said to be compressed and is not is the caller's mistake."""
    reply = web.post(f"{ATTENTION}Attend", body, content_encoding="gzip")
    assert told in violations_of(reply)["request"]


def test_requests_over_the_limit() -> None:
    """More bytes than the server admits are refused, also those that only come out when decompressed."""
    with ServerProcess(["--web-address", "127.0.0.1:0", "--max-message-bytes", str(SMALL)]) as server:
        small = Web(web_address(server))
        body = b'{"query": {}' + b" " * SMALL + b"}"
        for path in (f"{ATTENTION}Attend", HEALTH):
            reply = small.post(path, body)
            assert (reply.status, reply.json["code"]) == (429, "resource_exhausted")
        reply = small.post(f"{ATTENTION}Attend", gzip.compress(body), content_encoding="gzip")
        assert (reply.status, reply.json["code"]) == (429, "resource_exhausted")
        (info, *_) = reply.json["details"]
        assert info["debug"]["reason"] == "REQUEST_TOO_LARGE"
        assert info["debug"]["metadata"]["limitBytes"] == str(SMALL)
        assert small.ask("Attend", {}).status == 400
        assert server.stop() == 0
    assert "Traceback" not in server.log


def test_a_deadline_that_has_passed(web: Web) -> None:
    """A call that takes longer than its connect-timeout-ms is ended, and says so."""
    rows = {"matrix": {"rows": 4000, "columns": 1, "values": [0.5] * 4000}}
    question = {"query": rows, "path": "PATH_REFERENCE"}
    reply = Web(web.address, {"connect-timeout-ms": "20"}).ask("Attend", question)
    assert (reply.status, reply.json["code"]) == (504, "deadline_exceeded")


@pytest.mark.parametrize(
    ("verb", "path", "headers", "status"),
    [
        ("GET", f"{ATTENTION}Attend", {}, 405),
        ("POST", f"{ATTENTION}attend", {"content_type": "application/json"}, 404),
        ("POST", "/", {"content_type": "application/json"}, 404),
        ("POST", f"{ATTENTION}Attend", {}, 415),
        ("POST", f"{ATTENTION}Attend", {"content_type": "text/plain"}, 415),
        ("POST", f"{ATTENTION}Attend", {"content_type": "application/grpc"}, 415),
        ("POST", f"{ATTENTION}Attend", {"content_type": "application/grpc+proto"}, 415),
        ("POST", f"{ATTENTION}Attend", {"content_type": "application/json", "content_encoding": "br"}, 501),
        ("POST", f"{ATTENTION}Attend", {"content_type": "application/json", "connect_timeout_ms": "soon"}, 400),
        ("POST", f"{ATTENTION}Attend", {"content_type": "application/json", "x_name": "caf\xe9"}, 400),
        ("POST", "/healthz", {}, 404),
    ],
)
def test_requests_of_another_kind(verb: str, path: str, headers: dict[str, str], status: int, web: Web) -> None:
    """What is no call has the status that HTTP has for it, and leaves no traceback, which the fixture looks for."""
    assert web.request(verb, path, b"{}" if verb == "POST" else None, **headers).status == status


@pytest.mark.parametrize(
    ("path", "taken"),
    [
        (f"{ATTENTION}Attend", ["application/json", "application/proto"]),
        (f"{MODELS}Generate", ["application/json", "application/connect+json", "application/connect+proto"]),
    ],
)
def test_which_content_types_are_taken(path: str, taken: list[str], web: Web) -> None:
    """A content type that a method does not take is refused with those that it takes, in words and in Accept-Post."""
    reply = web.post(path, b"{}", "text/csv")
    assert reply.status == 415
    assert reply.headers["accept-post"].split(", ")[: len(taken)] == taken
    assert reply.body.decode() == f"content-type is 'text/csv', expected one of {reply.headers['accept-post']}\n"


def test_answers_are_not_compressed(web: Web) -> None:
    """A wish for compressed answers, which every browser has, is not followed: the event loop would be busy with it."""
    question = {"query": {"matrix": {"rows": 1, "columns": 1, "values": [1]}}}
    reply = Web(web.address, {"accept-encoding": "gzip"}).ask("Attend", question)
    assert reply.headers["content-encoding"] == "identity"
    assert reply.json["output"]["matrix"]["values"] == [1]
