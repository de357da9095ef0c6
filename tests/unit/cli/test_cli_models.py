"""The subcommands that ask whole models: what they print is what the client gets."""

import json
import re
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from model_serving import FAILED, GO, WHY, Golden, serving_models
from PIL import Image

import qkv
from qkv.cli.tables import parameter_count, rounded

from .conftest import Run, one_line, type_in


def test_lists_models(ask: Run, model_client: qkv.Client) -> None:
    """Each model has a line with its state and what it can, or why it cannot."""
    ran = ask("models")
    assert (ran.status, ran.err) == (0, "")
    header, *lines = ran.out.splitlines()
    assert header.split() == ["name", "state", "architecture", "parameters", "memory", "context", "can"]
    assert [line.split()[0] for line in lines] == [model.name for model in model_client.models()]
    by_name = {line.split()[0]: line for line in lines}
    assert re.fullmatch(r"bert +ready +bert +24\.2 k +97 kB +16 +embed, encode", by_name["bert"])
    assert by_name[FAILED].split()[1] == "failed"
    assert WHY in by_name[FAILED]
    listed = json.loads(ask("models", "--json").out)
    assert [each["name"] for each in listed] == list(by_name)
    assert {each["weight_type"] for each in listed} == {"float32", None}


def test_describes_a_model(ask: Run) -> None:
    """One model is told fact by fact, in words or in JSON."""
    lines = dict(line.split(maxsplit=1) for line in ask("models", "bert-labels").out.splitlines())
    assert lines["labels"] == "O, B-BEAST, I-BEAST, B-PLACE, I-PLACE"
    assert (lines["heads"], lines["weight_type"]) == ("4", "float32")
    assert "reason" not in lines
    assert json.loads(ask("models", "bert-labels", "--json").out)["heads"] == 4
    lines = dict(line.split(maxsplit=1) for line in ask("models", "mbart").out.splitlines())
    assert lines["languages"] == "en to de"


def test_a_server_without_models(run: Run, tmp_path: Path) -> None:
    """Without models, whether there is no folder or nothing in it, there is a hint instead of an empty table."""
    said = "The server has no models. It serves those in the folder of `qkv-server serve --models FOLDER`.\n"
    assert run("models").out == said
    with serving_models(tmp_path) as server:
        assert run("models", "--target", server.address).out == said


def test_shows_tokens(ask: Run) -> None:
    """Each token is a line with its number, its piece and where it comes from."""
    (told, *_) = Golden("bert").said["tokenized"]
    out = ask("tokens", told["text"], "--model", "bert").out
    lines = [line.split() for line in out.splitlines() if line.startswith("  ")]
    assert [(int(number), piece) for number, piece, *_ in lines] == list(zip(told["ids"], told["pieces"], strict=True))
    assert lines[0][2:] == ["special"]
    assert lines[1][2:] == ["0:1", "'I'"]
    assert out.startswith(f"{told['text']!r}: {len(told['ids'])} tokens\n")
    assert ask("tokens", "I", "--no-special-tokens", "--model", "bert").out.startswith("'I': 1 token\n")


def test_tokens_of_lines_in_json(ask: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines of standard input are texts, and each is an array of tokens on a line."""
    type_in("bear\n\nI love\n", monkeypatch)
    lines = ask("tokens", "--model", "bert", "--json", "--no-special-tokens").out.splitlines()
    assert [[token["piece"] for token in json.loads(line)] for line in lines] == [["bear"], [], ["i", "love"]]


def test_embeds_texts(ask: Run, model_client: qkv.Client) -> None:
    """A few texts are shown with how alike they are; in JSON each vector is a line."""
    texts = ["I love bears.", "The bear waits."]
    vectors = model_client.embed(texts, model="bert")
    ran = ask("embed", *texts, "--model", "bert")
    assert ran.out.startswith("bert: float32 (2, 32)\n")
    assert f"{float(vectors[0] @ vectors[1]):.3f}" in ran.out
    lines = ask("embed", *texts, "--model", "bert", "--json").out.splitlines()
    np.testing.assert_array_equal(np.array([json.loads(line) for line in lines], np.float32), vectors)


def test_embeds_a_file_in_batches(ask: Run, model_client: qkv.Client, tmp_path: Path) -> None:
    """The lines of a file, more than one call takes, are saved as one array; cut texts are counted."""
    lines = [f"bear {number}" for number in range(600)] + ["bear " * 50]
    file, saved = tmp_path / "lines.txt", tmp_path / "vectors.npy"
    file.write_text("\n".join(lines), "utf-8")
    options = ("--file", file, "--model", "bert", "--pooling", "cls", "--no-normalize")
    ran = ask("embed", *options, "--save", saved)
    assert ran.out == f"saved 601 vectors of 32 numbers to {saved}\n"
    assert ran.err == "qkv: 1 of 601 texts was longer than the model reads, and cut\n"
    expected = model_client.embed(lines, model="bert", pooling="cls", normalize=False)
    np.testing.assert_allclose(np.load(saved), expected, atol=1e-5)
    assert "texts[88] has 52 tokens" in one_line(ask("embed", *options, "--refuse-long-texts"))


def test_saves_vectors_as_rows(ask: Run, model_client: qkv.Client, tmp_path: Path) -> None:
    """In a .csv file the vector of each text is a row, in digits that tell the float32 numbers exactly."""
    texts, saved = ["I love bears.", "The bear waits."], tmp_path / "vectors.csv"
    assert ask("embed", *texts, "--model", "bert", "--save", saved).status == 0
    rows = [[np.float32(number) for number in line.split(",")] for line in saved.read_text().splitlines()]
    np.testing.assert_array_equal(np.array(rows), model_client.embed(texts, model="bert"))
    assert len(saved.read_text()) < 2 * 32 * 14


def test_one_is_one(ask: Run, tmp_path: Path) -> None:
    """What there is one of is told in the singular."""
    ran = ask("embed", "bear " * 50, "--model", "bert", "--save", tmp_path / "vector.npy")
    assert ran.out == f"saved 1 vector of 32 numbers to {tmp_path / 'vector.npy'}\n"
    assert ran.err == "qkv: 1 of 1 text was longer than the model reads, and cut\n"


def test_a_dash_is_standard_input(ask: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """For - the lines of standard input are texts, as where there is none, also beside others."""
    expected = ask("embed", "I love", "bears", "--model", "bert", "--json").out
    type_in("I love\nbears\n", monkeypatch)
    assert ask("embed", "-", "--model", "bert", "--json").out == expected
    type_in("bears\n", monkeypatch)
    assert ask("embed", "I love", "-", "--model", "bert", "--json").out == expected


def test_lines_are_those_that_other_programs_count(ask: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A line ends with a line feed, in a file and on the input, whatever else in it might be taken for an end."""
    lines, file = ["I love\x0cbears", "", "the\u2028bear waits", ""], tmp_path / "lines.txt"
    file.write_text("".join(f"{line}\n" for line in lines), "utf-8")
    of_file = ask("tokens", "--file", file, "--model", "bert", "--json").out
    assert len(of_file.splitlines()) == len(lines)
    type_in(file.read_text("utf-8"), monkeypatch)
    assert ask("tokens", "--model", "bert", "--json").out == of_file


@pytest.mark.parametrize("given", [["--file", "latin.txt"], []], ids=["file", "input"])
def test_text_that_is_no_utf_8_is_said_to_be(
    given: Sequence[str], ask: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Bytes that are no text are refused by the name of where they stand, and the line, whatever the locale."""
    monkeypatch.chdir(tmp_path)
    latin = "Bear\nBär\n".encode("latin-1")
    Path("latin.txt").write_bytes(latin)
    type_in(latin, monkeypatch)
    where = "--file: latin.txt" if given else "standard input"
    line = one_line(ask("tokens", *given, "--model", "bert"))
    assert line == f"{where}, line 2: is not UTF-8 (invalid continuation byte)"


@pytest.mark.parametrize(
    ("number", "unit", "said"),
    [(0, "B", ""), (7, "B", "7 B"), (97_000, "B", "97 kB"), (134_515_008, "", "135 M"), (999_700, "", "1 M")],
)
def test_sizes_have_three_digits(number: int, unit: str, said: str) -> None:
    """A size is told in three digits and the unit that they need, and not at all where it is not known."""
    assert rounded(number, unit) == said


def test_parameters_are_counted_in_billions() -> None:
    """A thousand million parameters are 1 B, as in the names of models."""
    assert [parameter_count(number) for number in (24_200, 134_515_008, 1_235_814_400)] == ["24.2 k", "135 M", "1.24 B"]


@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        (["generate", GO], {}),
        (
            ["generate", GO, "--temperature", "1.5", "--seed", "7", "--top-k", "20"],
            {"temperature": 1.5, "seed": 7, "top_k": 20},
        ),
        (["generate", GO, "--stop", "e", "--stop", "a"], {"stop": ["e", "a"]}),
    ],
)
def test_generates(arguments: Sequence[str], options: dict[str, Any], ask: Run, model_client: qkv.Client) -> None:
    """The continuation is printed as it is, with a line break at its end; in JSON it comes with all that is told."""
    result = model_client.generate(GO, model="llama", max_tokens=12, **options).read()
    ran = ask(*arguments, "--model", "llama", "--max-tokens", "12")
    assert (ran.status, ran.out, ran.err) == (0, f"{result.text}\n", "")
    told = json.loads(ask(*arguments, "--model", "llama", "--max-tokens", "12", "--json").out)
    assert (told["text"], told["finish_reason"], told["seed"]) == (result.text, result.finish_reason, result.seed)
    assert told["usage"].keys() == asdict(result.usage).keys()
    assert told["tokens"] == []


def test_log_probabilities_in_json(ask: Run) -> None:
    """Asked for, each token has its log-probability and those of the likeliest."""
    ran = ask("generate", GO, "--model", "llama", "--max-tokens", "3", "--json", "--top-log-probabilities", "2")
    tokens = json.loads(ran.out)["tokens"]
    assert len(tokens) == 3
    assert all(len(token["likeliest"]) == 2 and token["token"] in token["likeliest"] for token in tokens)


def test_rewrites_standard_input(ask: Run, model_client: qkv.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a text, and for -, standard input is translated or summarized."""
    translated = model_client.translate(GO, model="llama", source="en", target="de").read().text
    summary = model_client.summarize(GO, model="llama", max_tokens=5).read().text
    for dash in ((), ("-",)):
        type_in(f"{GO}\n", monkeypatch)
        assert ask("translate", *dash, "--model", "llama", "--from", "en", "--to", "de").out == f"{translated}\n"
        type_in(f"{GO}\n", monkeypatch)
        assert ask("summarize", *dash, "--model", "llama", "--max-tokens", "5").out == f"{summary}\n"


def test_a_chat_model_that_rewrites_is_named(ask: Run) -> None:
    """Where no model was made for it, it is said that a chat model translates or summarizes; else nothing is."""
    for command, *options in (("translate", "--from", "en", "--to", "de"), ("summarize", "--max-tokens", "5")):
        ran = ask(command, GO, *options, "--model", "llama")
        assert (ran.status, ran.err) == (0, f"qkv: llama is a chat model, not made to {command}: read with care\n")
    ran = ask("translate", GO, "--model", "mbart")
    assert (ran.status, ran.err) == (0, "")


def test_chats_once(ask: Run, model_client: qkv.Client) -> None:
    """A message is answered, after what the model is told to be."""
    messages: list[qkv.ChatMessage] = [{"role": "system", "content": "Be a bear."}, {"role": "user", "content": GO}]
    answer = model_client.chat(messages, model="llama", max_tokens=8).read().text
    ran = ask("chat", GO, "--system", "Be a bear.", "--model", "llama", "--max-tokens", "8")
    assert ran.out == f"{answer}\n"


def test_explains_the_attention_of_a_model(ask: Run, tmp_path: Path) -> None:
    """Tokens and the attention map of one head are shown as a table of what transformers computes, and as a picture."""
    golden = Golden("bert-labels")
    text = golden.questions[0]["text"]
    picture = tmp_path / "map.png"
    ran = ask("explain", text, "--model", "bert-labels", "--layer", "1", "--head", "3", "--plot", picture)
    assert (ran.status, ran.err) == (0, "")
    pieces = golden.said["tokenized"][0]["pieces"]
    rows = [line.split() for line in ran.out.splitlines() if re.fullmatch(r"  \S+(\s+[01]\.\d{3})+", line)]
    assert [row[0] for row in rows] == pieces
    weights = golden.array(0, "attentions")[1][3]
    np.testing.assert_allclose([[float(cell) for cell in row[1:]] for row in rows], weights, atol=6e-4)
    for piece, row in zip(pieces, weights, strict=True):
        assert re.search(
            rf"^  {re.escape(piece)} +{re.escape(pieces[row.argmax()])} \({row.max():.3f}\)$", ran.out, re.M
        )
    with Image.open(picture) as image:
        assert image.size[0] > 500


def test_a_long_sentence_is_drawn_larger(ask: Run, tmp_path: Path) -> None:
    """The picture of many tokens is larger than that of a few."""
    picture = tmp_path / "map.png"
    assert ask("explain", f"{GO} " * 4, "--model", "bert-labels", "--plot", picture).status == 0
    with Image.open(picture) as image:
        assert image.size[0] > 1200


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["explain", "a", "--model", "bert", "--heads", "2"],
            "--embeddings and --heads: are those of the walk-through, expected without --model NAME",
        ),
        (
            ["explain", "a", "--model", "bert", "--embeddings", "x.json"],
            "--embeddings and --heads: are those of the walk-through, expected without --model NAME",
        ),
        (
            ["generate", "a", "--model", "llama", "--top-log-probabilities", "2"],
            "--top-log-probabilities: are told by --json, expected that, too",
        ),
        (["models", "nope"], "NOT_FOUND no model 'nope'"),
        (["tokens", "a"], "the request has no answer: model: needed, since several are ready"),
        (["embed", "a", "--file", "x"], "--file: and TEXT are two sources of texts"),
        (["embed", "a", "--model", "llama"], "FAILED_PRECONDITION model 'llama' cannot embed"),
        (["embed", "a", "--model", "bert", "--save", "x.txt"], "--save: x.txt: expected a name ending in"),
        (["generate", "a", "--model", FAILED], f"FAILED_PRECONDITION model '{FAILED}' is not ready"),
        (["generate", "a", "--model", "llama", "--top-p", "2"], "sampling.top_p: is 2"),
        (["chat", "a", "--model", "gpt2"], "FAILED_PRECONDITION model 'gpt2' cannot chat"),
        (["translate", "a", "--model", "llama"], "target: needed, since llama is asked for any language"),
        (["explain", "a", "--model", "bert", "--layer", "2"], "attentions[0]: is 2, expected from -1 to 1"),
        (["explain", "a", "--layer", "0"], "--layer and --head: are those of a model, expected --model NAME, too"),
    ],
)
def test_what_is_wrong_is_one_line(arguments: Sequence[str], said: str, ask: Run) -> None:
    """A refusal is one line on standard error, and the status says so."""
    ran = ask(*arguments)
    assert ran.status == 1
    (line,) = ran.err.splitlines()
    assert said in line
