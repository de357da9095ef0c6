"""ModelService refuses what has no answer: every wrong field at once, which model is missing, and what it cannot do."""

import os
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import grpc
import pytest
from model_serving import FAILED, WHY
from refusals import DEADLINE, Refusal, assert_invalid, refusal_of
from roundtrip.malformed_models import WRONG, Wrong
from serving import ServerProcess

import qkv
from qkv.v1 import models_pb2

METHODS = {method.name: method for method in models_pb2.DESCRIPTOR.services_by_name["ModelService"].methods}
NAMED: dict[str, dict[str, Any]] = {  # of every method but GetModel and ListModels a valid request, but for the model
    "Tokenize": {"texts": ["a"]},
    "Detokenize": {"texts": [{"ids": [5]}]},
    "Embed": {"texts": ["a"]},
    "Encode": {"text": "a"},
    "Generate": {"prompt": "a"},
    "Summarize": {"text": "a"},
    "Translate": {"text": "a", "target": "pt"},
}

Send = Callable[[str, bytes], Any]


@pytest.fixture(scope="module")
def send(model_server: ServerProcess) -> Iterator[Send]:
    """Sends bytes to a method; the last message of what comes back."""
    with grpc.insecure_channel(model_server.address, [("grpc.max_receive_message_length", -1)]) as channel:

        def call(name: str, payload: bytes) -> Any:
            kind = channel.unary_stream if METHODS[name].server_streaming else channel.unary_unary
            ask: Any = kind(f"/qkv.v1.ModelService/{name}")
            answer = ask(payload, timeout=DEADLINE)
            return list(answer)[-1] if METHODS[name].server_streaming else answer

        yield call


def request_of(name: str, **fields: Any) -> bytes:
    kind: Any = getattr(models_pb2, f"{name}Request")
    payload: bytes = kind(**fields).SerializeToString()
    return payload


@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: f"{wrong.method}-{'-'.join(wrong.violations)}")
def test_every_wrong_field_is_named(wrong: Wrong, send: Send) -> None:
    """A request with wrong fields is INVALID_ARGUMENT, and has one violation for each of them, which says what is."""
    refusal = refusal_of(lambda: send(wrong.method, wrong.request.SerializeToString()))
    assert_invalid(refusal)
    assert set(refusal.fields) == set(wrong.violations)
    for field, description in refusal.violations:
        assert wrong.violations[field] in description


def not_found(refusal: Refusal) -> None:
    assert (refusal.code, refusal.info.reason) == (grpc.StatusCode.NOT_FOUND, "UNKNOWN_MODEL")


@pytest.mark.parametrize("name", ["GetModel", *NAMED])
def test_a_model_that_is_not_there_is_not_found(name: str, send: Send) -> None:
    """NOT_FOUND says which models there are."""
    refusal = refusal_of(lambda: send(name, request_of(name, **NAMED.get(name, {}), model="nope")))
    not_found(refusal)
    assert "no model 'nope', expected one of 'bart', 'bert', " in refusal.message


def test_a_name_that_is_no_name_is_not_repeated(send: Send) -> None:
    """Of an unknown model with a long name the refusal repeats the beginning, and names those that there are."""
    refusal = refusal_of(lambda: send("Embed", request_of("Embed", texts=["a"], model="x" * 100_000)))
    not_found(refusal)
    assert refusal.message.startswith(f"no model '{'x' * 100}…', expected one of 'bart', ")


@pytest.mark.parametrize("name", NAMED)
def test_a_failed_model_says_why(name: str, send: Send) -> None:
    """FAILED_PRECONDITION has what is wrong with the files of the model."""
    refusal = refusal_of(lambda: send(name, request_of(name, **NAMED[name], model=FAILED)))
    assert (refusal.code, refusal.info.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "MODEL_NOT_READY")
    assert refusal.info.metadata["model"] == FAILED
    assert WHY in refusal.message


@pytest.mark.parametrize(
    ("name", "model", "fields", "task", "can"),
    [
        ("Embed", "llama", NAMED["Embed"], "embed", "generate, chat, summarize, translate"),
        ("Encode", "gpt2", NAMED["Encode"], "encode", "generate"),
        ("Encode", "bert", {"text": "a", "labels": True}, "label tokens", "embed, encode"),
        ("Generate", "bert", NAMED["Generate"], "generate", "embed, encode"),
        ("Generate", "gpt2", {"chat": {"messages": [{"role": "user", "content": "a"}]}}, "chat", "generate"),
        ("Summarize", "gpt2", NAMED["Summarize"], "summarize", "generate"),
        ("Translate", "bert", NAMED["Translate"], "translate", "embed, encode"),
    ],
)
def test_a_model_says_what_it_cannot_do(
    name: str, model: str, fields: dict[str, Any], task: str, can: str, send: Send
) -> None:
    """FAILED_PRECONDITION says what a model was not made for, and what it was."""
    refusal = refusal_of(lambda: send(name, request_of(name, **fields, model=model)))
    assert (refusal.code, refusal.info.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "NO_SUCH_TASK")
    assert refusal.message == f"model '{model}' cannot {task}; it can {can}"


@pytest.mark.parametrize(
    ("name", "fields", "said"),
    [
        ("Embed", {"model": "bert", "texts": ["a", "b " * 99], "refuse_long_texts": True}, "texts[1] has 101 tokens"),
        ("Encode", {"model": "bert", "text": "b " * 99, "refuse_long_text": True}, "text has 101 tokens"),
        ("Generate", {"model": "gpt2", "prompt": "bear " * 99}, "the model reads 64"),
        ("Generate", {"model": "gpt2", "prompt": "bear", "max_tokens": 64}, "max_tokens is 64"),
        ("Generate", {"model": "llama", "prompt": "bear", "max_tokens": 2**31 - 1}, "max_tokens is 2147483647"),
    ],
)
def test_more_tokens_than_a_model_reads(name: str, fields: dict[str, Any], said: str, send: Send) -> None:
    """RESOURCE_EXHAUSTED tells the tokens that there are, and that the model reads."""
    refusal = refusal_of(lambda: send(name, request_of(name, **fields)))
    assert (refusal.code, refusal.info.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_MANY_TOKENS")
    assert said in refusal.message


@pytest.mark.parametrize("name", ["Tokenize", "Embed", "Encode", "Generate", "Summarize", "Translate"])
def test_more_text_than_the_server_admits(name: str, send: Send) -> None:
    """A text that would take more memory than the server admits is refused before it is read."""
    text = "a" * 20_000_000
    fields = {"texts": [text]} if name in ("Tokenize", "Embed") else {"prompt" if name == "Generate" else "text": text}
    refusal = refusal_of(lambda: send(name, request_of(name, **fields, model="llama")))
    assert (refusal.code, refusal.info.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "REQUEST_TOO_LARGE")


@pytest.mark.parametrize("name", METHODS)
def test_bytes_that_are_no_message(name: str, send: Send) -> None:
    """Garbage is the caller's mistake, in answers of one piece and of several, large or small."""
    for payload in (b"\xff" * 10, b"\x0a\x05ab", b"\xff" * 100_000, b"\x0a\x02\xff\xfe", os.urandom(64) + b"\xff" * 12):
        if name == "ListModels" and payload.startswith(b"\x0a\x02"):
            continue  # a field that it does not know
        refusal = refusal_of(partial(send, name, payload))
        assert_invalid(refusal)
        assert refusal.fields == ("request",)


def test_a_megabyte_of_text_is_answered(send: Send) -> None:
    """A long text is tokenized whole, and embedded by what the model reads of it."""
    text = "The bear waits by the river. " * 36_000
    answer = send("Tokenize", request_of("Tokenize", model="bert", texts=[text]))
    response = models_pb2.TokenizeResponse.FromString(answer)
    assert len(response.texts[0].tokens) > 200_000
    assert response.texts[0].tokens[-2].end == len(text.rstrip())
    embedded = models_pb2.EmbedResponse.FromString(send("Embed", request_of("Embed", model="bert", texts=[text])))
    assert (list(embedded.tokens), list(embedded.truncated)) == ([16], [True])


def test_both_clients_raise_their_errors(model_client: qkv.Client) -> None:
    """What is missing, and what cannot be, are errors of their own for Python people."""
    with pytest.raises(qkv.NotFoundError) as missing:
        model_client.embed(["a"], model="nope")
    assert missing.value.reason == "UNKNOWN_MODEL"
    with pytest.raises(qkv.FailedPreconditionError) as failed:
        model_client.generate("a", model=FAILED).read()
    assert (failed.value.reason, failed.value.metadata) == ("MODEL_NOT_READY", {"model": FAILED})
    with pytest.raises(qkv.TooLargeError):
        model_client.generate("bear " * 99, model="gpt2").read()
    with pytest.raises(qkv.InvalidRequestError) as wrong:
        model_client.generate("a", model="llama", max_tokens=-1, top_p=2).read()
    assert {violation.field for violation in wrong.value.violations} == {"max_tokens", "sampling.top_p"}
