"""From the files of a model to the model: which family builds which model_type."""

from collections.abc import Callable, Mapping
from typing import Any

from qkv_server.transformers.errors import ModelFileError
from qkv_server.transformers.families import annalog, bart, bert, gpt2, llama, marian, t5
from qkv_server.transformers.families.answers import check_lengths
from qkv_server.transformers.families.constraints import check_constraints
from qkv_server.transformers.files import ModelFiles
from qkv_server.transformers.stacks.decoder import DecoderModel
from qkv_server.transformers.stacks.encoder_decoder import EncoderDecoderModel
from qkv_server.transformers.stacks.encoder_model import EncoderModel

Writer = DecoderModel | EncoderDecoderModel[Any]
Model = EncoderModel | Writer

FAMILIES: Mapping[str, Callable[[ModelFiles], Model]] = {
    "annalog": annalog.build,
    "bart": bart.build,
    "bert": bert.build,
    "camembert": bert.build,
    "distilbert": bert.build,
    "gpt2": gpt2.build,
    "marian": marian.build,
    "mbart": bart.build,
    "mt5": t5.build,
    "roberta": bert.build,
    "t5": t5.build,
    "xlm-roberta": bert.build,
    **dict.fromkeys(llama.VARIANTS, llama.build),
}


def load(files: ModelFiles) -> Model:
    """The model that files describe. Raises ModelFileError for what is missing, wrong, or not known."""
    kind = files.config.get("model_type")
    build = FAMILIES.get(kind) if isinstance(kind, str) else None
    if build is None:
        has = f"model_type {kind!r}" if "model_type" in files.config else "no model_type"
        raise ModelFileError(files.path, f"config has {has}, expected one of {', '.join(FAMILIES)}")
    model = build(files)
    if not isinstance(model, EncoderModel):
        check_constraints(files, encoder_decoder=isinstance(model, EncoderDecoderModel))
    if isinstance(model, EncoderDecoderModel):
        check_lengths(files, model.prompt_ids)
    known = model.description.vocabulary_size
    if files.tokenizer.highest_id >= known:  # it would be read from beyond the embedding
        raise ModelFileError(
            files.path, f"its tokenizer has tokens up to {files.tokenizer.highest_id}, and its embedding {known} rows"
        )
    files.weights.let_pages_go()  # most tensors were copied into layouts that are fast
    return model
