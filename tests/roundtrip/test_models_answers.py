"""Encoders over a socket: what both clients get is what transformers computed with the same weights."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from model_serving import FAILED, WHY, Both, Golden
from serving import ServerProcess

import qkv

ENCODERS = ("bert", "bert-labels", "distilbert", "roberta")
WRITERS = ("gemma", "gpt2", "llama", "mistral", "qwen2", "qwen3")
CLOSE = 1e-4  # float32 here and there


def test_models_are_listed_by_name(ask: Both) -> None:
    """Every folder is a model, in the order of names, with what it can be asked for, or why it cannot."""
    models = ask("models")
    assert [model.name for model in models] == sorted(model.name for model in models)
    by_name = {model.name: model for model in models}
    assert {*ENCODERS, *WRITERS, FAILED} <= set(by_name)
    for name in ENCODERS:
        assert (by_name[name].state, by_name[name].reason) == ("ready", "")
        assert by_name[name].tasks == ("embed", "encode")
    assert by_name["gpt2"].tasks == ("generate",)
    assert by_name["llama"].tasks == ("generate", "chat", "summarize", "translate")
    failed = by_name[FAILED]
    assert (failed.state, failed.tasks, failed.parameters, failed.weight_type) == ("failed", (), 0, None)
    assert WHY in failed.reason


def test_a_model_is_described_by_its_config(ask: Both) -> None:
    """Sizes and labels are those of config.json, and the weights are counted."""
    model = ask("model", "bert-labels")
    assert (model.architecture, model.layers, model.decoder_layers, model.heads) == ("bert", 2, 0, 4)
    assert (model.hidden_size, model.context_tokens, model.vocabulary_size) == (32, 64, 220)
    assert model.labels == ("O", "B-BEAST", "I-BEAST", "B-PLACE", "I-PLACE")
    assert model.weight_bytes == 4 * model.parameters > 0
    assert model.weight_type == np.float32
    assert ask("model", "bert").context_tokens == 16  # what sentence-transformers' files say, less than the positions


@pytest.mark.parametrize("name", [*ENCODERS, *WRITERS])
def test_tokens_are_those_of_the_tokenizer(name: str, ask: Both) -> None:
    """Numbers, pieces, places in the text and which are special are what transformers' tokenizer says."""
    told = Golden(name).said["tokenized"]
    answers = ask("tokenize", [each["text"] for each in told], model=name)
    for expected, tokens in zip(told, answers, strict=True):
        assert [token.id for token in tokens] == expected["ids"]
        assert [token.piece for token in tokens] == expected["pieces"]
        assert [[token.begin, token.end] for token in tokens] == expected["offsets"]
        assert [token.special for token in tokens] == expected["special"]
    assert ask("detokenize", [each["ids"] for each in told], model=name) == [each["decoded"] for each in told]


def test_special_tokens_can_be_left_out_and_written(ask: Both) -> None:
    """Tokenize leaves them out, and Detokenize writes them, if asked to."""
    ((one,), none) = ask("tokenize", ["bear", ""], model="bert", special_tokens=False)
    assert (one.piece, one.begin, one.end, one.special) == ("bear", 0, 4, False)
    assert none == ()
    ids = [[token.id for token in tokens] for tokens in ask("tokenize", ["bear"], model="bert")]
    assert ask("detokenize", ids, model="bert", special_tokens=True) == ["[CLS] bear [SEP]"]


def test_embeddings_are_those_of_the_oracle(ask: Both) -> None:
    """Vectors are within 1e-5 of sentence-transformers' arithmetic, whatever company a text has in its call."""
    golden = Golden("bert")
    texts = [question["text"] for question in golden.questions]
    expected = np.stack([golden.array(number, "embedding") for number in range(len(texts))])
    fitting = [number for number, question in enumerate(golden.questions) if len(question["input_ids"]) <= 16]
    assert fitting
    embeddings = ask("embed", texts * 20, model="bert")
    assert (embeddings.shape, embeddings.dtype) == ((20 * len(texts), 32), np.float32)
    for number in fitting:
        np.testing.assert_allclose(embeddings[number :: len(texts)], np.tile(expected[number], (20, 1)), atol=1e-5)


def test_details_of_embeddings(ask: Both) -> None:
    """How many tokens were read of each text, and which texts were cut, comes with the vectors if asked for."""
    result = ask("embed_result", ["", "bear", "bear " * 100], model="bert")
    assert result.tokens == (2, 3, 16)
    assert result.truncated == (False, False, True)
    assert result.model == "bert"
    np.testing.assert_allclose(np.linalg.norm(result.embeddings, axis=1), 1, rtol=1e-6)
    np.testing.assert_array_equal(ask("embed", ["bear " * 14], model="bert")[0], result.embeddings[2])
    assert ask("embed", [], model="bert").shape == (0, 32)


@pytest.mark.parametrize(
    ("pooling", "pooled"), [("mean", lambda h: h.mean(0)), ("cls", lambda h: h[0]), ("last", lambda h: h[-1])]
)
def test_pooling_is_of_the_last_hidden_states(pooling: str, pooled: Callable[[Any], Any], ask: Both) -> None:
    """Mean, first and last are those of the hidden states that the oracle says, scaled only if asked to."""
    states = Golden("distilbert").array(0, "hidden_states")[-1]
    text = Golden("distilbert").questions[0]["text"]
    vector = ask("embed", [text], model="distilbert", pooling=pooling, normalize=False)[0]
    np.testing.assert_allclose(vector, pooled(states), atol=CLOSE)
    scaled = ask("embed", [text], model="distilbert", pooling=pooling, normalize=True)[0]
    np.testing.assert_allclose(scaled, vector / np.linalg.norm(vector), rtol=1e-6)


@pytest.mark.parametrize("name", ["bert-labels", "distilbert", "roberta"])
def test_layers_are_those_of_the_oracle(name: str, ask: Both) -> None:
    """Hidden states and attention maps of all layers are what transformers computes, rows of maps summing to 1."""
    golden = Golden(name)
    for number, question in enumerate(golden.questions):
        result = ask("encode", question["text"], model=name, hidden_states=True, attentions=True)
        assert [token.id for token in result.tokens] == question["input_ids"]
        assert not result.truncated
        states, maps = golden.array(number, "hidden_states"), golden.array(number, "attentions")
        assert (list(result.hidden_states), list(result.attentions)) == ([0, 1, 2], [0, 1])
        for layer, expected in enumerate(states):
            np.testing.assert_allclose(result.hidden_states[layer], expected, atol=CLOSE)
        for layer, expected in enumerate(maps):
            np.testing.assert_allclose(result.attentions[layer], expected, atol=CLOSE)
            np.testing.assert_allclose(result.attentions[layer].sum(-1), 1, rtol=1e-5)


def test_chosen_heads_of_the_last_layer(ask: Both) -> None:
    """Heads come in the order asked, and −1 is the last layer, told by its number."""
    golden = Golden("bert-labels")
    result = ask(
        "encode", golden.questions[0]["text"], model="bert-labels", attentions=[-1], hidden_states=[-1], heads=[3, 1]
    )
    np.testing.assert_allclose(result.attentions[1], golden.array(0, "attentions")[1][[3, 1]], atol=CLOSE)
    assert (list(result.attentions), list(result.hidden_states)) == ([1], [2])


def test_labels_are_the_likeliest(ask: Both) -> None:
    """Each token has the label of its largest logit, and the probability that the logits give it."""
    golden = Golden("bert-labels")
    names = ask("model", "bert-labels").labels
    for number, question in enumerate(golden.questions):
        logits = golden.array(number, "logits")
        probabilities = np.exp(logits - logits.max(1, keepdims=True))
        probabilities /= probabilities.sum(1, keepdims=True)
        labels = ask("encode", question["text"], model="bert-labels", labels=True).labels
        assert [each.label for each in labels] == [names[place] for place in logits.argmax(1)]
        np.testing.assert_allclose([each.probability for each in labels], probabilities.max(1), atol=CLOSE)


def test_the_only_model_that_can_need_not_be_named(model_server: ServerProcess) -> None:
    """Refusals name the ready models among which to choose; see also the tests of a server of one model."""
    with qkv.Client(model_server.address) as client, pytest.raises(qkv.InvalidRequestError) as refused:
        client.embed(["bear"])
    (violation,) = refused.value.violations
    assert violation.field == "model"
    assert all(name in violation.description for name in ENCODERS)
    assert "llama" not in violation.description
