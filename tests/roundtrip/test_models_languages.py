"""Which model translates: the one that was made for the languages, else the one that is asked for any in words."""

import json
import shutil
from collections.abc import Iterator

import pytest
from model_serving import GO, TINY_MODELS, serving_models

import qkv


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[qkv.Client]:
    """A server of translators from English to Portuguese and back, and of one that is asked in words."""
    folder = tmp_path_factory.mktemp("translators")
    (folder / "llama").symlink_to(TINY_MODELS / "llama")
    for name, source, target in (("enpt", "en", "pt"), ("pten", "pt", "en")):
        shutil.copytree(TINY_MODELS / "marian", folder / name)
        file = folder / name / "tokenizer_config.json"
        fields = json.loads(file.read_text("utf-8")) | {"source_lang": source, "target_lang": target}
        file.write_text(json.dumps(fields), "utf-8")
    with serving_models(folder) as server, qkv.Client(server.address) as connected:
        yield connected
        assert server.stop() == 0
    assert "Traceback" not in server.log


@pytest.mark.parametrize(
    ("source", "target", "chosen"),
    [
        ("en", "pt", "enpt"),
        ("pt", "en", "pten"),
        ("en-GB", "pt-BR", "enpt"),
        ("EN", "", "enpt"),
        ("", "en", "pten"),
        ("en", "de", "llama"),
        ("", "fr", "llama"),
    ],
)
def test_the_model_of_the_languages_is_chosen(source: str, target: str, chosen: str, client: qkv.Client) -> None:
    """Regions and capitals do not count; languages that no model was made for are asked for in words."""
    assert client.translate(GO, source=source, target=target).read().model == chosen


def test_models_say_their_languages(client: qkv.Client) -> None:
    """A translator lists its pair, and one that is asked in words lists none."""
    assert client.model("enpt").languages == (("en", "pt"),)
    assert client.model("enpt").tasks == ("translate",)
    assert client.model("llama").languages == ()


def test_a_named_model_needs_no_languages(client: qkv.Client) -> None:
    """A model of one pair translates what it was made for, unless other languages are asked of it."""
    assert client.translate(GO, model="pten").read().model == "pten"
    with pytest.raises(qkv.FailedPreconditionError) as refused:
        client.translate(GO, model="pten", source="de").read()
    assert str(refused.value) == "model 'pten' cannot translate de to any language; it can translate pt to en"


def test_languages_are_needed_where_several_models_have_some(client: qkv.Client) -> None:
    """Without languages and without a name there is a choice, which is not made by chance."""
    with pytest.raises(qkv.InvalidRequestError, match="model: needed, since several can translate: enpt, pten"):
        client.translate(GO).read()


def test_sentences_are_joined_as_they_were(client: qkv.Client) -> None:
    """Each sentence is translated on its own, to what it is alone, and the white space between them stays."""
    sentences = ["I love bears.", "The water turns the old wheel."]
    alone = [client.translate(sentence, source="en", target="pt").read().text for sentence in sentences]
    together = client.translate("\n\n".join(sentences), source="en", target="pt").read()
    assert together.text == "\n\n".join(alone)
