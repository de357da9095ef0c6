"""`qkv encode` and `qkv tokens --decode`: what they print and save is what transformers computes."""

import json
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from model_serving import GO, Golden

import qkv
from qkv.cli import encode

from .conftest import Run, one_line, type_in

GOLDEN = Golden("bert-labels")
TEXT = GOLDEN.questions[0]["text"]
IDS = GOLDEN.questions[0]["input_ids"]
MODEL = ("--model", "bert-labels")
TOLERANCE = 1e-5
ENDINGS = "expected a name ending in one of .npz, .safetensors, .json"


def test_shows_the_last_hidden_states(ask: Run, model_client: qkv.Client) -> None:
    """Without further options there are the tokens, and the hidden states of the last layer in short."""
    ran = ask("encode", TEXT, *MODEL)
    assert (ran.status, ran.err) == (0, "")
    assert ran.out.startswith(f"bert-labels: {len(IDS)} tokens\n")
    assert [int(number) for number in re.findall(r"^ +(\d+) ", ran.out, re.M)] == IDS
    (last,) = model_client.encode(TEXT, model="bert-labels", hidden_states=[-1]).hidden_states.values()
    assert f"\nHidden states after layer 2: float32 {last.shape}\n" in ran.out
    assert f"{last[0, 0]:.5f}" in ran.out
    assert "\nHidden states of the embedding: " in ask("encode", TEXT, *MODEL, "--hidden-states", "0").out


def test_shows_attention_maps_of_heads(ask: Run) -> None:
    """Each map that is asked is a table under its layer and head, its rows and columns the tokens."""
    ran = ask("encode", TEXT, *MODEL, "--attentions", "0", "-1", "--heads", "3", "1")
    _, *tables = ran.out.split("\nAttention in layer ")
    pieces = GOLDEN.said["tokenized"][0]["pieces"]
    assert [each.partition("\n")[0] for each in tables] == ["0, head 3", "0, head 1", "1, head 3", "1, head 1"]
    for shown, (layer, head) in zip(tables, [(0, 3), (0, 1), (1, 3), (1, 1)], strict=True):
        header, *rows = [line.split() for line in shown.splitlines()[2:]]
        assert header == [row[0] for row in rows] == pieces
        weights = np.array([[float(cell) for cell in row[1:]] for row in rows])
        np.testing.assert_allclose(weights, GOLDEN.array(0, "attentions")[layer][head], atol=6e-4)


def test_many_maps_are_shown_in_short(ask: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """More maps than a screen holds are told by their shape and their corners."""
    monkeypatch.setattr(encode, "MOST_MAPS", 7)
    out = ask("encode", TEXT, *MODEL, "--attentions").out
    size = len(IDS)
    assert re.findall(r"Attention in .*", out) == [
        f"Attention in layer {layer}: float32 (4, {size}, {size})" for layer in (0, 1)
    ]
    assert "Attention in layer 1, head 3\n" in ask("encode", TEXT, *MODEL, "--attentions", "1").out


def test_shows_labels(ask: Run) -> None:
    """The likeliest label of each token stands behind its piece, with its probability; no hidden states are asked."""
    out = ask("encode", TEXT, *MODEL, "--labels").out
    weights = np.exp(GOLDEN.array(0, "logits").astype(np.float64))
    probabilities = weights / weights.sum(axis=1, keepdims=True)
    names = ("O", "B-BEAST", "I-BEAST", "B-PLACE", "I-PLACE")
    shown = [line.split()[2:4] for line in out.splitlines()[1:]]
    assert [label for label, _ in shown] == [names[row.argmax()] for row in probabilities]
    np.testing.assert_allclose([float(number) for _, number in shown], probabilities.max(axis=1), atol=6e-4)


def test_prints_everything_as_json(ask: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Layers are by their numbers; -, as no text, is standard input."""
    type_in(f"{TEXT}\n", monkeypatch)
    told = json.loads(ask("encode", "-", *MODEL, "--hidden-states", "--attentions", "1", "--labels", "--json").out)
    assert (told["model"], told["truncated"]) == ("bert-labels", False)
    assert [token["id"] for token in told["tokens"]] == IDS
    assert len(told["labels"]) == len(IDS)
    assert list(told["hidden_states"]) == ["0", "1", "2"]
    states = list(told["hidden_states"].values())
    np.testing.assert_allclose(states, GOLDEN.array(0, "hidden_states"), rtol=0, atol=TOLERANCE)
    assert list(told["attentions"]) == ["1"]
    np.testing.assert_allclose(told["attentions"]["1"], GOLDEN.array(0, "attentions")[1], rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_saves_arrays_by_their_names(suffix: str, ask: Run, tmp_path: Path) -> None:
    """All layers are saved, each under its kind and number, and the numbers of the tokens."""
    file = tmp_path / f"all{suffix}"
    ran = ask("encode", TEXT, *MODEL, "--hidden-states", "--attentions", "--save", file)
    saved = dict(np.load(file)) if suffix == ".npz" else safetensors.numpy.load_file(file)
    names = ["token_ids", *(f"hidden_states.{layer}" for layer in range(3)), "attentions.0", "attentions.1"]
    assert ran.out == f"saved {', '.join(names)} to {file}\n"
    assert saved.keys() == set(names)
    assert saved["token_ids"].tolist() == IDS
    for kind in ("hidden_states", "attentions"):
        for layer, expected in enumerate(GOLDEN.array(0, kind)):
            np.testing.assert_allclose(saved[f"{kind}.{layer}"], expected, rtol=0, atol=TOLERANCE)


def test_says_that_a_text_was_cut(ask: Run) -> None:
    """A text that is longer than the model reads is cut, which is told, or refused."""
    long = "bear " * 100
    ran = ask("encode", long, "--model", "bert")
    assert (ran.status, ran.err) == (0, "qkv: the text was longer than the model reads, and cut\n")
    assert "text has 102 tokens, the model reads 16" in one_line(
        ask("encode", long, "--model", "bert", "--refuse-long-text")
    )


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--heads", "0"], "--heads: are those of attention maps, expected --attentions, too"),
        (["--labels", "--save", "x.npz"], "--save: holds arrays, expected --json with --labels"),
        (["--save", "x.npy"], f"--save: x.npy: {ENDINGS}, for token_ids, hidden_states"),
        (["--save", "x.txt"], f"--save: x.txt: {ENDINGS}, for token_ids, hidden_states"),
        (["--attentions", "2"], "attentions[0]: is 2, expected from -1 to 1"),
    ],
)
def test_refuses_what_cannot_be(options: Sequence[str], said: str, ask: Run) -> None:
    """What has no answer, or no place in a file, is one line that names the option or the field."""
    assert said in one_line(ask("encode", TEXT, *MODEL, *options))


def test_decodes_tokens(ask: Run, model_client: qkv.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Numbers of tokens become the text that they were made of; of standard input each line is a text."""
    (tokens,) = model_client.tokenize([GO], model="llama")
    ids = [token.id for token in tokens]
    assert ask("tokens", "--decode", *ids, "--model", "llama").out == f"{GO}\n"
    type_in(f"{' '.join(map(str, ids))}\n\n{ids[-1]}\n", monkeypatch)
    lines = ask("tokens", "--decode", "--model", "llama", "--json").out.splitlines()
    assert [json.loads(line) for line in lines] == model_client.detokenize([ids, [], ids[-1:]], model="llama")


def test_special_tokens_are_decoded_if_asked(ask: Run) -> None:
    """What a model puts around a text is left out of it, or written."""
    assert "[CLS]" not in ask("tokens", "--decode", *IDS, *MODEL).out
    assert ask("tokens", "--decode", "--special-tokens", *IDS, *MODEL).out.startswith("[CLS] ")


def test_decodes_nothing_but_numbers(ask: Run) -> None:
    """What is no number is named, what is no token, and what no token could be."""
    assert one_line(ask("tokens", "--decode", "1", "two", *MODEL)) == "--decode: 'two' is no number of a token"
    assert "texts[0].ids: token 1 is 100000" in one_line(ask("tokens", "--decode", "1", "100000", *MODEL))
    line = one_line(ask("tokens", "--decode", "1", "99999999999999999999", *MODEL))
    assert line == "texts[0].ids[1]: is 99999999999999999999, expected from -2147483648 to 2147483647"
