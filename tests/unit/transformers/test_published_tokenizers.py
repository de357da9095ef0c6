"""Tokenizers of folders without tokenizer.json: the same tokens, from the vocabularies that models came with before."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from tiny_models import FOLDER

from qkv_server.transformers.errors import ModelFileError
from qkv_server.transformers.files import published_tokenizers, read_model
from qkv_server.transformers.text.tokenizer import Tokenizer

SENTENCEPIECE = FOLDER.parent / "sentencepiece"


def without_tokenizer_json(folder: Path, name: str) -> Path:
    """A tiny model with vocab.txt, or with vocab.json and merges.txt, in place of tokenizer.json."""
    shutil.copytree(FOLDER / name, folder)
    model = json.loads((folder / "tokenizer.json").read_text("utf-8"))["model"]
    (folder / "tokenizer.json").unlink()
    if model["type"] == "WordPiece":
        (folder / "vocab.txt").write_text("".join(f"{piece}\n" for piece in model["vocab"]), "utf-8")
        return folder
    (folder / "vocab.json").write_text(json.dumps(model["vocab"]))
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *map(" ".join, model["merges"])]), "utf-8")
    return folder


@pytest.mark.parametrize("name", ["bert", "distilbert", "gpt2", "roberta", "bart"])
def test_words_are_cut_as_by_tokenizer_json(tmp_path: Path, name: str) -> None:
    """Ids, pieces, offsets and marks of special tokens are those of the model's own tokenizer.json."""
    expected = read_model(FOLDER / name).tokenizer
    found = read_model(without_tokenizer_json(tmp_path / "model", name)).tokenizer
    assert found.special_tokens.items() >= expected.special_tokens.items()
    for golden in json.loads((FOLDER / name / "goldens.json").read_text("utf-8"))["tokenized"]:
        text = golden["text"]
        assert found.encode(text) == expected.encode(text)
        assert found.decode(golden["ids"]) == golden["decoded"]


def test_bert_may_tell_large_letters(tmp_path: Path) -> None:
    """tokenizer_config.json says whether a vocabulary is of small letters alone; if it does not, it is."""
    folder = without_tokenizer_json(tmp_path / "model", "bert-labels")
    assert read_model(folder).tokenizer.encode("The").pieces == ["[CLS]", "the", "[SEP]"]
    (folder / "tokenizer_config.json").write_text('{"do_lower_case": false}')
    expected = read_model(FOLDER / "bert-labels").tokenizer.encode("The BEARS, à")
    assert read_model(folder).tokenizer.encode("The BEARS, à") == expected


def of_sentencepiece(folder: Path, model_type: str, file: str, vocabulary: str = "unigram", **said: Any) -> Tokenizer:
    shutil.copy(SENTENCEPIECE / f"{vocabulary}.model", folder / file)
    special = {role: token for role, token in said.items() if role.endswith("_token") and isinstance(token, str)}
    return published_tokenizers.read(folder, model_type, said, special)


def texts(vocabulary: str) -> list[Mapping[str, Any]]:
    """What SentencePiece made of them: there <unk>, <s> and </s> are 0, 1 and 2."""
    found: list[Mapping[str, Any]] = json.loads((SENTENCEPIECE / f"{vocabulary}.json").read_text("utf-8"))["texts"]
    return found


def test_a_text_of_t5_ends_with_its_end(tmp_path: Path) -> None:
    """spiece.model has the numbers; </s> stands behind a text."""
    tokenizer = of_sentencepiece(tmp_path, "t5", "spiece.model")
    for asked in texts("unigram"):
        assert tokenizer.encode(asked["text"]).ids == [*asked["ids"], 2]
    assert tokenizer.special_ids == {"eos_token": 2, "unk_token": 0}


@pytest.mark.parametrize(
    ("said", "before", "after"),
    [
        ({}, [1], []),
        ({"add_bos_token": False}, [], []),
        ({"add_bos_token": True, "add_eos_token": True}, [1], [2]),
    ],
)
def test_a_text_of_llama_begins_as_its_config_says(
    tmp_path: Path, said: dict[str, bool], before: list[int], after: list[int]
) -> None:
    """tokenizer.model has the numbers; <s> stands before a text unless the config says otherwise."""
    tokenizer = of_sentencepiece(tmp_path, "llama", "tokenizer.model", "bpe", **said)
    for asked in texts("bpe"):
        assert tokenizer.encode(asked["text"]).ids == [*before, *asked["ids"], *after]


def test_tokens_that_came_later_have_their_numbers(tmp_path: Path) -> None:
    """added_tokens.json and tokenizer_config.json add tokens, which are read whole; a number that is taken is told."""
    (tmp_path / "added_tokens.json").write_text('{"<|turn|>": 420}')
    later = {"421": {"content": "river bank", "special": False}}
    tokenizer = of_sentencepiece(tmp_path, "llama", "tokenizer.model", "bpe", added_tokens_decoder=later)
    assert tokenizer.encode("<|turn|>river bank").ids == [1, 420, 421]
    assert tokenizer.decode([420, 421]) == "river bank"
    later = {"500": {"content": "river bank"}}
    with pytest.raises(ModelFileError, match=r": token 'river bank' has number 421 here, expected 500$"):
        of_sentencepiece(tmp_path, "llama", "tokenizer.model", "bpe", added_tokens_decoder=later)


@pytest.mark.parametrize(("model_type", "first", "moved"), [("xlm-roberta", 0, 1), ("camembert", 5, 4)])
def test_fairseq_numbers_pieces_anew(tmp_path: Path, model_type: str, first: int, moved: int) -> None:
    """SentencePiece's numbers are moved by those of fairseq's special tokens; <mask> is the last."""
    tokenizer = of_sentencepiece(tmp_path, model_type, "sentencepiece.bpe.model")
    begin, end = tokenizer.special_ids["cls_token"], tokenizer.special_ids["sep_token"]
    assert (begin, tokenizer.special_ids["unk_token"]) == (first, 3)
    for asked in texts("unigram"):
        moved_ids = [number + moved if number else 3 for number in asked["ids"]]
        assert tokenizer.encode(asked["text"]).ids == [begin, *moved_ids, end]
    assert tokenizer.special_ids["mask_token"] == tokenizer.highest_id


@pytest.mark.parametrize(
    ("name", "around"), [("MBartTokenizer", "{} </s> de_DE"), ("MBart50Tokenizer", "de_DE {} </s>")]
)
def test_codes_of_languages_follow_the_pieces(tmp_path: Path, name: str, around: str) -> None:
    """Codes of languages are the last of mBART's pieces; that of the source stands behind a text, or before it."""
    codes = ["en_XX", "de_DE"]
    said: dict[str, Any] = {"tokenizer_class": name, "src_lang": "de_DE", "additional_special_tokens": codes}
    tokenizer = of_sentencepiece(tmp_path, "mbart", "sentencepiece.bpe.model", **said)
    assert tokenizer.encode("bears").pieces == around.format("▁bears").split()
    last = [tokenizer.piece(tokenizer.highest_id - number) for number in (2, 1, 0)]
    assert last == [*codes, "<mask>"]
    with pytest.raises(ModelFileError, match=r"its vocabulary has no 'de_DE', which stands around texts$"):
        of_sentencepiece(tmp_path, "mbart", "sentencepiece.bpe.model", **said | {"additional_special_tokens": []})


def test_special_tokens_may_be_objects(tmp_path: Path) -> None:
    """In special_tokens_map.json a token is a text, or an object with more about it, also one without a role."""
    folder = shutil.copytree(FOLDER / "mbart", tmp_path / "model")
    (folder / "tokenizer.json").unlink()
    shutil.copy(SENTENCEPIECE / "unigram.model", folder / "sentencepiece.bpe.model")
    codes, end = ["en_XX", "de_DE"], {"content": "</s>", "lstrip": False}
    said = {"eos_token": end, "additional_special_tokens": [{"content": code, "lstrip": False} for code in codes]}
    (folder / "special_tokens_map.json").write_text(json.dumps(said))
    (folder / "tokenizer_config.json").write_text("{}")
    tokenizer = read_model(folder).tokenizer
    assert tokenizer.encode("bears").pieces == ["▁bears", "</s>", "en_XX"]
    assert tokenizer.encode("de_DE").ids[0] == tokenizer.highest_id - 1


def test_marian_has_a_list_of_the_pieces_of_both_languages(tmp_path: Path) -> None:
    """A source is cut by the scores of its own model; the numbers are those of the list."""
    own = json.loads((SENTENCEPIECE / "unigram.json").read_text("utf-8"))["tokens"]
    listed = ["</s>", "<unk>", "▁bea", "▁rivers", *own[:2:-1], "<pad>"]
    (tmp_path / "vocab.json").write_text(json.dumps({piece: number for number, piece in enumerate(listed)}))
    tokenizer = of_sentencepiece(tmp_path, "marian", "source.spm")
    for asked in texts("unigram"):
        pieces = [own[number] for number in asked["ids"]]
        assert tokenizer.encode(asked["text"]).pieces == [*pieces, "</s>"]
    assert tokenizer.decode([3, 2]) == "rivers bea"
    assert tokenizer.special_ids == {"eos_token": 0, "unk_token": 1, "pad_token": len(listed) - 1}


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("bert", "has no tokenizer.json, and no vocab.txt to make one of"),
        ("roberta", "has no tokenizer.json, and no vocab.json to make one of"),
        ("t5", "has no tokenizer.json, and no spiece.model to make one of"),
        ("marian", "has no tokenizer.json, and no source.spm to make one of"),
        ("llama", "has no tokenizer.json, and no tokenizer.model to make one of"),
        ("qwen2", "has no tokenizer.json"),
    ],
)
def test_a_folder_without_a_vocabulary_says_which_is_missing(tmp_path: Path, name: str, problem: str) -> None:
    """The error names the file that the family has, and what makes a tokenizer.json."""
    folder = shutil.copytree(FOLDER / name, tmp_path / "model")
    (folder / "tokenizer.json").unlink()
    with pytest.raises(ModelFileError, match=f"^model: {problem}: AutoTokenizer.from_pretrained"):
        read_model(folder)


def test_a_broken_vocabulary_is_named(tmp_path: Path) -> None:
    """A file that the library cannot read is told by its name."""
    folder = without_tokenizer_json(tmp_path / "model", "gpt2")
    (folder / "merges.txt").write_text("no such pieces\n")
    with pytest.raises(ModelFileError, match=r"^vocab.json: is no vocabulary of gpt2: "):
        read_model(folder)
