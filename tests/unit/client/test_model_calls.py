"""The calls of ModelService: what Python people write becomes the request that the contract says, or is refused."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from google.protobuf import text_format
from google.protobuf.message import Message

from qkv import codec
from qkv._embed import embed, embed_result
from qkv._encode import encode
from qkv._generate import chat, generate
from qkv._model_results import EmbeddingResult, EncodeResult, Model
from qkv._models import model, models
from qkv._rewrite import summarize, translate
from qkv._text_options import GenerateOptions
from qkv._tokenize import detokenize, tokenize
from qkv.v1 import models_pb2
from qkv.wire import Draft, receive

Build = Callable[..., Any]

SAMPLING: dict[str, Any] = {
    "temperature": 0.5,
    "repetition_penalty": 1.5,
    "top_k": 40,
    "top_p": 0.75,
    "min_p": 0.25,
    "seed": 2**64 - 1,
}
SAID = (
    "sampling { temperature: 0.5 repetition_penalty: 1.5 top_k: 40 top_p: 0.75 min_p: 0.25 seed: 18446744073709551615 }"
)
HELLO: Any = [{"role": "system", "content": "."}, {"role": "user", "content": "Hi"}]

NOTHING = dict.fromkeys(set(GenerateOptions.__annotations__) - {"timeout", "wait_for_ready"})

CALLS: dict[str, tuple[Build, Any, dict[str, Any], str]] = {
    "models": (models, (), {}, ""),
    "model": (model, ("a",), {}, 'model: "a"'),
    "tokenize": (tokenize, (["x", "ü"],), {"model": "a"}, 'model: "a" texts: "x" texts: "ü"'),
    "tokenize without": (tokenize, ([""],), {"special_tokens": False}, 'texts: "" without_special_tokens: true'),
    "detokenize": (detokenize, ([[1, 2], []],), {"model": "a"}, 'model: "a" texts { ids: 1 ids: 2 } texts { }'),
    "detokenize arrays": (
        detokenize,
        (np.array([[1, 2]]),),
        {"special_tokens": True},
        "texts { ids: 1 ids: 2 } with_special_tokens: true",
    ),
    "embed": (embed, (["x"],), {}, 'texts: "x"'),
    "embed all": (
        embed,
        (("x",),),
        {"model": "a", "pooling": "last", "normalize": False, "refuse_long_texts": True},
        'model: "a" texts: "x" pooling: POOLING_LAST normalize: false refuse_long_texts: true',
    ),
    "embed_result": (embed_result, (["x"],), {"pooling": "cls"}, 'texts: "x" pooling: POOLING_CLS'),
    "encode": (encode, ("x",), {}, 'text: "x"'),
    "encode every layer": (
        encode,
        ("x",),
        {"attentions": True, "hidden_states": True},
        'text: "x" all_hidden_states: true all_attentions: true',
    ),
    "encode all": (
        encode,
        ("x",),
        {
            "model": "a",
            "hidden_states": range(2),
            "attentions": np.array([3]),
            "heads": (1, 2),
            "labels": True,
            "refuse_long_text": True,
        },
        'model: "a" text: "x" hidden_states: [0, 1] attentions: 3 heads: [1, 2] labels: true refuse_long_text: true',
    ),
    "generate": (generate, ("x",), {}, 'prompt: "x"'),
    "generate nothing": (generate, ("",), NOTHING, 'prompt: ""'),
    "generate all": (
        generate,
        ("x",),
        {"model": "a", "max_tokens": 9, "stop": ["\n", "."], "top_log_probabilities": 0, **SAMPLING},
        f'model: "a" prompt: "x" max_tokens: 9 {SAID} stop: "\\n" stop: "." top_log_probabilities: 0',
    ),
    "chat": (
        chat,
        (HELLO,),
        {"max_tokens": 9},
        'chat { messages { role: "system" content: "." } messages { role: "user" content: "Hi" } } max_tokens: 9',
    ),
    "chat nothing": (chat, ([],), {}, "chat {}"),
    "summarize": (summarize, ("x",), {}, 'text: "x"'),
    "summarize all": (
        summarize,
        ("x",),
        {"model": "a", "max_tokens": 9, **SAMPLING},
        f'model: "a" text: "x" max_tokens: 9 {SAID}',
    ),
    "translate": (
        translate,
        ("x",),
        {"source": "en", "target": "pt"},
        'text: "x" source: "en" target: "pt"',
    ),
    "translate all": (translate, ("x",), {"model": "a", **SAMPLING}, f'model: "a" text: "x" {SAID}'),
}


@pytest.mark.parametrize("name", CALLS)
def test_arguments_become_fields(name: str) -> None:
    """Every argument of every call is the field of its meaning, and what is left out or None is not set."""
    build, arguments, options, said = CALLS[name]
    call = build(*arguments, **options, timeout=2.5, wait_for_ready=True)
    request: Message = call.request.message
    assert request == text_format.Parse(said, type(request)())
    assert (call.timeout, call.wait_for_ready) == (2.5, True)
    assert call.method.path == f"/qkv.v1.ModelService/{request.DESCRIPTOR.name.removesuffix('Request')}"
    assert call.method.response_type.DESCRIPTOR.name == request.DESCRIPTOR.name.replace("Request", "Response")


@pytest.mark.parametrize(
    ("build", "arguments", "options", "error", "said"),
    [
        (tokenize, ("one text",), {}, TypeError, "texts: is one text, expected a list"),
        (embed, ("one text",), {}, TypeError, "texts: is one text, expected a list"),
        (embed, (["half \ud800"],), {}, ValueError, "texts: .*surrogates not allowed"),
        (embed, (["x"],), {"pooling": "max"}, ValueError, "pooling: is 'max', expected one of 'mean', 'cls', 'last'"),
        (detokenize, ([["a"]],), {}, TypeError, r"texts\[0\]\.ids: "),
        (
            detokenize,
            ([[1], [7, 2**31]],),
            {},
            ValueError,
            r"texts\[1\]\.ids\[1\]: is 2147483648, expected from -2147483648 to 2147483647$",
        ),
        (encode, ("x",), {"heads": 7}, TypeError, "heads: "),
        (encode, ("x",), {"heads": ["a"]}, TypeError, "heads: "),
        (encode, (7,), {}, TypeError, "text: "),
        (generate, (7,), {}, TypeError, "prompt: "),
        (
            generate,
            ("x",),
            {"temprature": 1},
            TypeError,
            "unknown option temprature; expected one of max_tokens, min_p",
        ),
        (generate, ("x",), {"stop": "."}, TypeError, "stop: is one text, expected a list"),
        (generate, ("x",), {"temperature": "hot"}, TypeError, "temperature: "),
        (generate, ("x",), {"seed": -1}, ValueError, "seed: is -1, expected from 0 to 18446744073709551615"),
        (generate, ("x",), {"max_tokens": 2.5}, TypeError, "max_tokens: "),
        (chat, ("Hello",), {}, TypeError, "messages: is one text, expected a list"),
        (chat, (["Hello"],), {}, TypeError, r"messages\[0\]: is 'Hello', expected a dictionary of role, content"),
        (
            chat,
            ([{"role": "user", "text": "x"}],),
            {},
            TypeError,
            r"unknown entry of messages\[0\] text; expected one of",
        ),
        (chat, ([{"role": "user", "content": 7}],), {}, TypeError, r"messages\[0\]\.content: "),
        (summarize, ("x",), {"stop": ["."]}, TypeError, "unknown option stop"),
        (translate, ("x",), {"max_tokens": 3}, TypeError, "unknown option max_tokens"),
        (translate, ("x",), {"source": 3}, TypeError, "source: "),
    ],
)
def test_what_cannot_be_sent_is_refused(
    build: Build, arguments: Any, options: dict[str, Any], error: type[Exception], said: str
) -> None:
    """What cannot be put into the request raises an error that begins with the name of the argument or of its field."""
    with pytest.raises(error, match=f"^{said}"):
        build(*arguments, **options)


def test_a_model_is_described_by_its_message() -> None:
    """Every field of the contract's Model is a field of the client's, enums as words, and nothing is made up."""
    message = models_pb2.Model(
        name="a",
        state=models_pb2.MODEL_STATE_FAILED,
        reason="no",
        architecture="marian",
        tasks=[models_pb2.TASK_TRANSLATE, models_pb2.TASK_GENERATE],
        parameters=2**40,
        weight_bytes=2**41,
        weight_type=codec.data_type(np.dtype(np.float32)),
        hidden_size=1,
        layers=2,
        decoder_layers=3,
        heads=4,
        context_tokens=5,
        vocabulary_size=6,
        languages=[models_pb2.LanguagePair(source="en", target="pt")],
        labels=["B", "I"],
    )
    described = Model.from_message(message)
    assert set(Model.__dataclass_fields__) == {field.name for field in models_pb2.Model.DESCRIPTOR.fields}
    assert described.state == "failed"
    assert described.weight_type == np.float32
    assert described.tasks == ("translate", "generate")
    assert (described.languages, described.labels) == ((("en", "pt"),), ("B", "I"))
    numbers = ("parameters", "weight_bytes", "hidden_size", "layers", "decoder_layers", "heads", "context_tokens")
    assert [getattr(described, name) for name in numbers] == [getattr(message, name) for name in numbers]
    nothing = Model.from_message(models_pb2.Model(name="b", state=models_pb2.MODEL_STATE_LOADING))
    assert (nothing.state, nothing.weight_type, nothing.tasks, nothing.languages) == ("loading", None, (), ())


@pytest.mark.parametrize("texts", [0, 1, 100])
def test_embeddings_are_views_of_the_response(texts: int) -> None:
    """Vectors come back as they were sent, read-only, whether their data was large or small."""
    vectors = np.random.default_rng(1).normal(size=(texts, 384)).astype(np.float32)
    draft = Draft(models_pb2.EmbedResponse(tokens=range(texts), truncated=[True] * texts, model="a"))
    draft.put_tensor("embeddings", vectors)
    result = EmbeddingResult.from_response(receive(draft.encode(), models_pb2.EmbedResponse))
    np.testing.assert_array_equal(result.embeddings, vectors, strict=True)
    assert not result.embeddings.flags.writeable
    assert (result.tokens, result.truncated, result.model) == (tuple(range(texts)), (True,) * texts, "a")
    assert draft.whole() == models_pb2.EmbedResponse.FromString(draft.encode())


def test_layers_are_by_number() -> None:
    """Hidden states and attention maps are found by the number of their layer, in the order asked."""
    states = {5: np.ones((3, 4), np.float32), 0: np.zeros((3, 4), np.float32)}
    maps = {2: np.full((2, 3, 3), 1 / 3, np.float32)}
    message = models_pb2.EncodeResponse(
        tokens=[
            models_pb2.Token(id=7, piece="##s", begin=2, end=3),
            models_pb2.Token(id=2, piece="[SEP]", special=True),
        ],
        hidden_states=[models_pb2.Layer(layer=n, values=codec.to_tensor(values)) for n, values in states.items()],
        attentions=[models_pb2.Layer(layer=n, values=codec.to_tensor(values)) for n, values in maps.items()],
        labels=[models_pb2.TokenLabel(label="B", probability=0.5)],
        truncated=True,
        model="a",
    )
    result = EncodeResult.from_response(receive(message.SerializeToString(), models_pb2.EncodeResponse))
    assert [(token.id, token.piece, token.begin, token.end, token.special) for token in result.tokens] == [
        (7, "##s", 2, 3, False),
        (2, "[SEP]", 0, 0, True),
    ]
    assert list(result.hidden_states) == [5, 0]
    for number, values in states.items():
        np.testing.assert_array_equal(result.hidden_states[number], values, strict=True)
    np.testing.assert_array_equal(result.attentions[2], maps[2], strict=True)
    assert [(each.label, each.probability) for each in result.labels] == [("B", 0.5)]
    assert (result.truncated, result.model) == (True, "a")
