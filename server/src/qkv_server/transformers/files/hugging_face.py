"""Folders as Hugging Face's libraries write them: config.json, tokenizer.json, safetensors, what chats look like."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from qkv_server.transformers.errors import ModelFileError, TemplateError
from qkv_server.transformers.files import published_tokenizers, safetensors, sentence_transformers
from qkv_server.transformers.files.json_file import named_path, read_object, read_object_if_there
from qkv_server.transformers.files.model_files import ModelFiles
from qkv_server.transformers.files.weights import StoredTensor, Weights
from qkv_server.transformers.text.chat import check_template
from qkv_server.transformers.text.tokenizer import Tokenizer

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
WITHOUT_ROLE = "additional_special_tokens"


def is_one(path: Path) -> bool:
    """Whether this is such a folder."""
    return (path / "config.json").is_file() or (path / sentence_transformers.MODULES).is_file()


def read(path: Path) -> ModelFiles:
    """The files of such a folder. Raises ModelFileError."""
    folder = sentence_transformers.transformer_folder(path)
    config, of_tokenizer = read_object(folder / "config.json"), read_object_if_there(folder / "tokenizer_config.json")
    return ModelFiles(
        path=path,
        config=config,
        weights=Weights(folder, _tensors(folder)),
        tokenizer=_tokenizer(folder, config, of_tokenizer),
        generation=read_object_if_there(folder / "generation_config.json"),
        sentence=sentence_transformers.read(path),
        languages=_languages(of_tokenizer),
    )


def _tensors(folder: Path) -> dict[str, StoredTensor]:
    if (folder / WEIGHTS).is_file():
        return safetensors.read(folder / WEIGHTS)
    if (folder / INDEX).is_file():
        return _sharded(folder)
    problem = f"has neither {WEIGHTS} nor {INDEX}"
    if any(folder.glob("*.bin")) or any(folder.glob("*.pt*")):
        problem += "; weights that are pickled are never read: save them as safetensors"
    raise ModelFileError(folder, problem)


def _sharded(folder: Path) -> dict[str, StoredTensor]:
    """The tensors of the files that an index names."""
    index = folder / INDEX
    where = read_object(index).get("weight_map")
    if not isinstance(where, dict) or not all(isinstance(file, str) for file in where.values()):
        raise ModelFileError(index, "has no weight_map from tensors to files")
    shards: dict[str, dict[str, StoredTensor]] = {}
    for file in sorted(set(where.values())):
        path = named_path(index, file)
        if not path.is_file():
            raise ModelFileError(index, f"names {file!r}, which is missing")
        shards[file] = safetensors.read(path)
    missing = [name for name, file in where.items() if name not in shards[file]]
    if missing:
        raise ModelFileError(folder / where[missing[0]], f"has no tensor {missing[0]!r}, which {INDEX} says it has")
    return {name: shards[file][name] for name, file in where.items()}


def _tokenizer(folder: Path, config: Mapping[str, Any], of_tokenizer: Mapping[str, Any]) -> Tokenizer:
    path = folder / "tokenizer.json"
    said = _with_texts({**read_object_if_there(folder / "special_tokens_map.json"), **of_tokenizer})
    special = {role: token for role, token in said.items() if role.endswith("_token") and isinstance(token, str)}
    if path.is_file():
        tokenizer = Tokenizer.from_file(path, special)
    else:
        tokenizer = published_tokenizers.read(folder, config.get("model_type"), said, special)
    return replace(tokenizer, chat_template=_chat_template(folder, of_tokenizer))


def _with_texts(said: Mapping[str, Any]) -> dict[str, Any]:
    """What is said, where bos_token, eos_token and so on are texts, and those without a role, too."""
    texts = {role: _text(token) for role, token in said.items() if role.endswith("_token")}
    more = said.get(WITHOUT_ROLE)
    return {**said, **texts, WITHOUT_ROLE: list(map(_text, more)) if isinstance(more, list) else []}


def _text(token: Any) -> Any:
    """A special token is written as its text, or as an object that has it as its content."""
    return token.get("content") if isinstance(token, dict) else token


def _chat_template(folder: Path, config: Mapping[str, Any]) -> str | None:
    """The template of chats, of whichever file has it."""
    file, template = _stored_template(folder, config)
    if isinstance(template, list):  # several by name
        named = [one.get("template") for one in template if isinstance(one, dict) and one.get("name") == "default"]
        template = named[0] if named else None
    if not isinstance(template, str | None):
        raise ModelFileError(file, f"has 'chat_template': {template!r:.200}, expected a text, or a list of named ones")
    if template is not None:
        try:
            check_template(template)
        except TemplateError as error:
            raise ModelFileError(file, f"has 'chat_template': {template!r:.80}, expected a template: {error}") from None
    return template


def _stored_template(folder: Path, config: Mapping[str, Any]) -> tuple[Path, Any]:
    """The template, and the file that has it: one of its own, else tokenizer_config.json."""
    alone, older = folder / "chat_template.jinja", folder / "chat_template.json"
    if alone.is_file():
        try:
            return alone, alone.read_text("utf-8")
        except UnicodeDecodeError as error:
            raise ModelFileError(alone, f"is no text in UTF-8: {error.reason} at byte {error.start}") from None
    said = read_object_if_there(older)
    if "chat_template" in said:
        return older, said["chat_template"]
    return folder / "tokenizer_config.json", config.get("chat_template")


def _languages(config: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """The pair that the tokenizer of a translation model is for: Marian's en and de, mBART's en_XX and de_DE."""
    for names in (("source_lang", "target_lang"), ("src_lang", "tgt_lang")):
        source, target = (config.get(name) for name in names)
        if isinstance(source, str) and isinstance(target, str):
            return ((source.partition("_")[0], target.partition("_")[0]),)
    return ()
