"""Answers in pieces for plain JSON, as by curl: a message a line, refusals as those of methods with one answer."""

import gzip
import http.client
import json
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from model_serving import GO, TINY_MODELS, serving_models
from serving import SECONDS, ServerProcess
from web.asking import JSON, MODELS, Reply, Web, web_address
from web.test_web_openapi import follows

import qkv

LINES = "application/x-ndjson"
LONG = f"{GO} " * 20_000


def ask(models: Web, method: str, **fields: Any) -> Reply:
    return models.post(MODELS + method, json.dumps(fields).encode())


def lines_of(reply: Reply) -> list[Any]:
    assert (reply.status, reply.headers["content-type"]) == (200, LINES)
    assert reply.body.endswith(b"\n")
    return [json.loads(line) for line in reply.body.splitlines()]


def test_each_line_is_a_piece(models: Web, model_client: qkv.Client) -> None:
    """The lines are the messages of the answer, together the text that gRPC gives, and the last says how it ended."""
    lines = lines_of(ask(models, "Generate", model="llama", prompt=GO, maxTokens=20))
    assert len(lines) > 1
    expected = model_client.generate(GO, model="llama", max_tokens=20).read()
    assert "".join(line.get("text", "") for line in lines) == expected.text
    assert lines[-1]["finishReason"] == "FINISH_REASON_LENGTH"
    assert lines[-1]["usage"]["outputTokens"] == 20


@pytest.mark.parametrize(
    ("method", "fields"),
    [
        ("Generate", {"model": "llama", "prompt": GO, "maxTokens": 3, "topLogProbabilities": 2}),
        ("Summarize", {"model": "llama", "text": GO, "maxTokens": 3}),
        ("Translate", {"model": "marian", "text": GO}),
    ],
)
def test_lines_follow_the_description(method: str, fields: dict[str, Any], models: Web) -> None:
    """Requests, and each line of their answers, are what the OpenAPI description says of them."""
    description = models.get("/openapi.json").json
    operation = description["paths"][MODELS + method]["post"]
    follows(fields, f"qkv.v1.{method}Request", description)
    follows(operation["requestBody"]["content"][JSON]["example"], f"qkv.v1.{method}Request", description)
    (content_type,) = operation["responses"]["200"]["content"]
    assert content_type == LINES
    for line in lines_of(ask(models, method, **fields)):
        follows(line, f"qkv.v1.{method}Response", description)


@pytest.mark.parametrize(
    ("fields", "status", "code", "said"),
    [
        ({"model": "nope", "prompt": "a"}, 404, "not_found", "no model 'nope'"),
        ({"model": "bert", "prompt": "a"}, 400, "failed_precondition", "model 'bert' cannot generate"),
        ({"model": "gpt2", "prompt": "bear " * 99}, 429, "resource_exhausted", "the model reads 64"),
        (
            {"model": "llama", "prompt": "a", "chat": {}, "sampling": {"seed": "-1"}},
            400,
            "invalid_argument",
            "chat: excluded by prompt, expected one of the two; sampling.seed: is -1, expected from 0 to 1844",
        ),
        ({"model": "llama", "promt": "a"}, 400, "invalid_argument", "promt: is no field of qkv.v1.GenerateRequest"),
    ],
)
def test_a_refusal_has_its_status(fields: Any, status: int, code: str, said: str, models: Web) -> None:
    """What is refused at once has the HTTP status and the body that a method with one answer has for it."""
    reply = ask(models, "Generate", **fields)
    assert (reply.status, reply.json["code"]) == (status, code)
    assert said in reply.json["message"]
    assert reply.json["details"][0]["debug"]["domain"] == "qkv.v1"


def test_bodies_as_clients_send_them(models: Web) -> None:
    """A content type with parameters and capitals, and a compressed body, are read; other compressions are refused."""
    path, body = f"{MODELS}Generate", json.dumps({"model": "llama", "prompt": GO, "maxTokens": 2}).encode()
    expected = [line.get("text") for line in lines_of(models.post(path, body))]
    for reply in (
        models.post(path, body, "Application/JSON; charset=utf-8"),
        models.post(path, gzip.compress(body), content_encoding="gzip"),
        models.post(path, body, content_encoding="identity"),
    ):
        assert [line.get("text") for line in lines_of(reply)] == expected
    reply = models.post(path, body, content_encoding="br")
    assert (reply.status, reply.json["code"]) == (501, "unimplemented")
    assert models.get(path).status == 405


def test_a_deadline_ends_the_lines(models: Web) -> None:
    """An answer that takes longer than its connect-timeout-ms ends with a line that says so."""
    hasty = Web(models.address, {"connect-timeout-ms": "500"})
    *lines, last = lines_of(ask(hasty, "Summarize", model="llama", text=LONG))
    assert lines
    assert list(last) == ["error"]
    assert last["error"]["code"] == "deadline_exceeded"


@pytest.fixture
def narrow(tmp_path: Path) -> Iterator[ServerProcess]:
    """A server of small messages whose only model works on one answer at a time."""
    (tmp_path / "llama").symlink_to(TINY_MODELS / "llama")
    arguments = ("--streams", "1", "--stream-queue", "0", "--web-address", "127.0.0.1:0", "--grace-seconds", "1")
    with serving_models(tmp_path, *arguments, "--max-message-bytes", str(len(LONG) + 1000)) as server:
        yield server
        assert server.stop() == 0
    assert "Traceback" not in server.log


@contextmanager
def begun(server: ServerProcess) -> Iterator[http.client.HTTPResponse]:
    """A long answer that has begun to come; in the end its connection is closed."""
    with closing(http.client.HTTPConnection(web_address(server), timeout=SECONDS)) as connection:
        connection.request("POST", f"{MODELS}Summarize", json.dumps({"text": LONG}), {"content-type": JSON})
        with connection.getresponse() as response:
            assert json.loads(response.readline())["text"]
            yield response


def test_a_body_over_the_limit_is_refused(narrow: ServerProcess) -> None:
    """More bytes than the server admits are refused, in one piece and in chunks."""
    body = json.dumps({"text": LONG * 2}).encode()
    for sent in (body, iter([body[:1000], body[1000:]])):
        with closing(http.client.HTTPConnection(web_address(narrow), timeout=SECONDS)) as connection:
            connection.request("POST", f"{MODELS}Summarize", sent, {"content-type": JSON})
            response = connection.getresponse()
            assert response.status == 429
            assert json.loads(response.read())["code"] == "resource_exhausted"


def test_a_caller_who_leaves_frees_the_model(narrow: ServerProcess) -> None:
    """When the connection is closed between two lines, the model is free for others."""
    web = Web(web_address(narrow))
    with begun(narrow):
        assert ask(web, "Generate", prompt=GO, maxTokens=1).status == 503
    end = time.monotonic() + SECONDS
    while ask(web, "Generate", prompt=GO, maxTokens=1).status == 503:
        assert time.monotonic() < end, "the model goes on with an answer that nobody reads"


def test_a_server_that_stops_says_so_in_the_last_line(narrow: ServerProcess) -> None:
    """What outlasts the grace of a stopping server ends with a line that says why."""
    with begun(narrow) as response:
        narrow.terminate()
        *_, last = response.read().splitlines()
    error = json.loads(last)["error"]
    assert (error["code"], error["message"]) == ("unavailable", "the server is stopping")
