"""Encoders of every architecture, with random weights, compute what transformers does with their files."""

import numpy as np
import pytest
from conformance.conftest import Agree
from tiny_models import questions, tiny_encoder

TOLERANCE = 1e-5
WHAT = {"hidden_states": "hidden states", "attentions": "attention maps"}


@pytest.mark.parametrize("name", ["bert", "bert-labels", "roberta", "distilbert"])
def test_states_and_maps_are_those_of_the_oracle(name: str, agree: Agree) -> None:
    """Every hidden state and attention map of a tiny model is that of the oracle within 1e-5."""
    model = tiny_encoder(name)
    layers = model.description.layers
    for question in questions(name):
        found = model.encode(question.ids, hidden_states=range(layers + 1), attentions=range(layers))
        for values, what in ((found.hidden_states, "hidden_states"), (found.attentions, "attentions")):
            assert [layer for layer, _ in values] == list(range(len(question.arrays[what])))
            agree([array for _, array in values], question.arrays[what], within=TOLERANCE, of=WHAT[what])


@pytest.mark.parametrize("name", ["bert-labels"])
def test_label_probabilities_are_those_of_the_oracle(name: str, agree: Agree) -> None:
    """A token classifier's probabilities are the softmax of the oracle's logits, its labels those of its config."""
    model = tiny_encoder(name)
    assert model.description.labels == ("O", "B-BEAST", "I-BEAST", "B-PLACE", "I-PLACE")
    for question in questions(name):
        weights = np.exp(question.logits.astype(np.float64))
        probabilities = model.encode(question.ids, labels=True).label_probabilities
        assert probabilities is not None
        expected = weights / weights.sum(-1, keepdims=True)
        agree(probabilities, expected, within=TOLERANCE, of="label probabilities")
